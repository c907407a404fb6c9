"""From a configuration to a loaded ensemble, its members in threads. Knows no service, no page and no database."""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol

from gac_app.config import Config
from gac_app.environment import cache_dir, with_plugins
from gac_app.errors import GacError
from gac_app.member_config import MemberConfig

if TYPE_CHECKING:  # torch loads when the configuration is checked
    from pathlib import Path

    from gac_app.decoding.ensemble import Ensemble
    from gac_app.decoding.member import Member
    from gac_app.models.backends import LoadModel
    from gac_app.models.base import Model
    from gac_app.models.hardware import Plan
    from gac_app.models.sources import Progress
    from gac_app.vocab.mapping import VocabMapping

logger = logging.getLogger(__name__)

InHand = Mapping[str, tuple[Any, Any]]  # a member's name -> a transformers model and its tokenizer


class Watcher(Protocol):
    """Is told how far each member is. Calls come from several threads."""

    def set_fetching(self, name: str, progress: Progress) -> None:
        return

    def set(self, name: str, phase: Literal["loading", "failed"], *, detail: str = "") -> None:
        return

    def set_ready(self, member: MemberConfig, model: Model) -> None:
        return

    def wait(self, name: str, why: str) -> bool:
        """Its server is not there. Whether to ask it again, now that it has waited."""
        return False


class _Nobody(Watcher):
    """Is told nothing, and does not wait."""


def load_ensemble(
    config: Config,
    watcher: Watcher | None = None,
    *,
    untried: list[Path] | None = None,
    in_hand: InHand | None = None,
) -> Ensemble:
    """Fetch and load all members, and unite their vocabularies.

    Args:
        watcher: gets each member's progress.
        untried: gets the files that onnxruntime may compute faster than llama.cpp, so that nobody waits for that
            trial; None = they are tried now.
        in_hand: members that are loaded already.

    Raises:
        ConfigError, ModelLoadError, VocabularyError: from the first member that failed; the others are released.
    """
    config = with_plugins(config)
    from gac_app.executors.members import new_member  # loads torch, so only after the configuration is checked

    places = planned(config)
    models = load_models(config, places, watcher, untried=untried, in_hand=in_hand)
    return unite(models, config, new_member, devices_disjoint=places.devices_disjoint)


def planned(config: Config) -> Plan:
    """Where each member runs on this machine. Logs its warnings; where there are GPUs, all of it."""
    found = plan_of(config)
    if found.has_gpus:
        for line in str(found).splitlines():
            logger.info("%s", line)
    else:
        for warning in found.warnings:
            logger.warning("%s", warning)
    return found


def plan_of(config: Config, devices: str | None = None) -> Plan:
    """Where each member runs.

    Args:
        devices: assumed GPUs, such as "8x80GiB"; None = this machine's.

    Raises:
        ConfigError: `devices` has another form.
    """
    from gac_app.models.factory import file_bytes
    from gac_app.models.hardware import detect_devices, parse_devices, plan

    there = parse_devices(devices) if devices is not None else detect_devices()
    return plan(config.members, there, file_bytes(config.loaded, cache_dir(config)) if there.gpus else None)


def load_models(
    config: Config,
    places: Plan,
    watcher: Watcher | None = None,
    *,
    untried: list[Path] | None = None,
    in_hand: InHand | None = None,
    num_at_once: int = 0,
) -> list[Model]:
    """The models of all members that are no views, in parallel.

    Args:
        untried, in_hand: see `load_ensemble`.
        num_at_once: 0 = all; 1 = one after another, in this thread.
    """
    told, load_on_ray = watcher or _Nobody(), _ray_loader(config)
    shared: dict[str, Any] = {"cache_dir": cache_dir(config), "unreachable": set[str](), "untried": untried}

    def load(member: MemberConfig) -> Model:
        placement = places.placements[member.name]
        if in_hand and member.name in in_hand:
            from gac_app.models.hf.loading import adopted

            return adopted(member, *in_hand[member.name], placement.num_threads)
        elsewhere = load_on_ray if member.ray else None
        return _load_member(config, member, told, placement=placement, load_elsewhere=elsewhere, **shared)

    if num_at_once == 1:
        return list(map(load, config.loaded))
    with ThreadPoolExecutor(len(config.loaded), thread_name_prefix="load") as pool:
        loading = [pool.submit(load, member) for member in config.loaded]
    errors = [error for future in loading if (error := future.exception())]
    models = [future.result() for future in loading if not future.exception()]
    if errors:
        _release(models)
        raise errors[0]
    for member, model in zip(config.loaded, models, strict=True):
        if model.chat_stop_strings and member.chat_template is None and not member.is_random:
            logger.warning("%s has no chat_template: it reads chats as `User: ... Assistant:`", member.name)
    return models


def _release(models: list[Model]) -> None:
    for model in models:
        model.close()


def unite(
    models: list[Model], config: Config, new_member: Callable[[Model, VocabMapping], Member], *, devices_disjoint: bool
) -> Ensemble:
    """An ensemble of loaded models and their views, in the configuration's order. Where there can be none, they are
    released; at the latest when nobody has it any more, or the program ends.
    """
    from gac_app.decoding.ensemble import Ensemble
    from gac_app.executors.members import with_views
    from gac_app.vocab.mapping import VocabMapping
    from gac_app.vocab.union import UnionVocabulary

    keeps_control = config.control_tokens == "keep"
    try:
        union = UnionVocabulary.build(model.vocabulary for model in models)
        members = [new_member(m, VocabMapping(m.vocabulary, union, keeps_control=keeps_control)) for m in models]
        ensemble = Ensemble(with_views(members, config.members), config, devices_disjoint=devices_disjoint)
    except BaseException:
        _release(models)
        raise
    # Threads of C++ that compute while Python ends abort it, and child processes outlive it.
    weakref.finalize(ensemble, _close, members, os.getpid())
    return ensemble


def _close(members: list[Member], pid: int) -> None:
    """In a forked process they are the parent's."""
    for member in members if os.getpid() == pid else ():
        member.close()


def _ray_loader(config: Config) -> LoadModel | None:
    """Loads members in actors. None if none runs on Ray. Raises ModelLoadError without room on the cluster."""
    members = [member for member in config.loaded if member.ray]
    if not members:
        return None
    from gac_app.executors.ray_cluster import RayCluster

    return RayCluster(config, members, cache_dir(config)).load


def _load_member(config: Config, member: MemberConfig, watcher: Watcher, **how: Any) -> Model:
    """Load a member, and tell the watcher. `how`: see `load_model`."""
    from gac_app.models.factory import load_model

    try:
        model = load_model(
            member,
            on_fetch=partial(watcher.set_fetching, member.name),
            on_load=lambda: watcher.set(member.name, "loading"),
            wait=partial(watcher.wait, member.name),
            **how,
        )
    except GacError as error:
        watcher.set(member.name, "failed", detail=str(error).removeprefix(f"{member.name}: "))
        raise
    for ready in (one for one in config.members if member.name in (one.name, one.of)):
        watcher.set_ready(ready, model)
    return model
