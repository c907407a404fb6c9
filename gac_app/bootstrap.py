"""The composition root: from a configuration to running services. The only module that knows concrete classes."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gac_app import __version__
from gac_app.config import Config
from gac_app.environment import cache_dir, database_url, evaluation_dir, mirror_dir, read_config
from gac_app.errors import UNEXPECTED, GacError
from gac_app.member_config import MemberConfig
from gac_app.services.battles.arena import ArenaService
from gac_app.services.lab.lab import Lab
from gac_app.services.members import MemberStates, facts_of
from gac_app.services.mirror.exports import Exports
from gac_app.services.mirror.mirror import Mirror
from gac_app.services.mirror.places import DatasetPlace, FolderPlace, Place
from gac_app.services.runs.runs import RunService
from gac_app.storage import Store

if TYPE_CHECKING:  # torch loads when the page is up already
    from gac_app.decoding.ensemble import Ensemble
    from gac_app.decoding.member import Member
    from gac_app.executors.zero_gpu import Gpu
    from gac_app.models.base import Model
    from gac_app.models.hardware import Placement, Plan
    from gac_app.vocab.mapping import VocabMapping

logger = logging.getLogger(__name__)

_VERSIONED = ("torch", "transformers", "llama-cpp-py-sync", "onnxruntime", "tokenizers")


@dataclass(frozen=True, slots=True)
class Services:
    """The services behind the page. `lab` and `arena` are None if the configuration closes them."""

    runs: RunService
    lab: Lab | None
    arena: ArenaService | None
    exports: Exports

    def close(self) -> None:
        """Stop all work, write what is pending, and release the models."""
        if self.lab:
            self.lab.close()
        self.runs.close()


def build_services(config: Config, gpu: Gpu | None = None) -> Services:
    """Open the database and start loading the members in the background. The services can be used at once.

    Args:
        gpu: `spaces.GPU`, on a ZeroGPU Space. Then the members are loaded before this returns, and there is no lab.

    Raises:
        StorageError: the database cannot be opened.
        ConfigError: the lab's questions cannot be used.
    """
    store = Store(database_url(config))
    service = RunService(config, store, _versions())
    if config.mirror.is_on:
        service.use_mirror(Mirror(store, _mirror_place(config)))
    has_lab = config.lab.is_open and gpu is None
    lab = Lab(config, evaluation_dir(config), partial(_for_a_study, service), store) if has_lab else None
    if gpu is None:
        threading.Thread(target=_load, args=(service, _use_threads), name="load-members", daemon=True).start()
    else:
        _load(service, partial(_use_zero_gpu, gpu=gpu))
    arena = ArenaService(service, store) if config.arena.is_open else None
    if arena and service.mirror:
        service.mirror.sealed = arena.history.sealed
    exports = Exports(store, arena.history.sealed if arena else frozenset)
    return Services(service, lab, arena, exports)


def _mirror_place(config: Config) -> Place:
    if config.mirror.folder:
        return FolderPlace(config.mirror.folder.expanduser())
    return DatasetPlace(config.mirror.dataset, mirror_dir(config), config.mirror.every_minutes)


def _for_a_study(service: RunService) -> tuple[Ensemble, Callable[[], None]]:
    from gac_app.executors.background import in_background

    return in_background(service.ready_ensemble())


def load_ensemble(
    config: Config | str | Path | None = None,
    states: MemberStates | None = None,
    *,
    untried: list[Path] | None = None,
) -> Ensemble:
    """Fetch and load all members, and unite their vocabularies.

    Args:
        config: a configuration, its file, or None for GAC_CONFIG's or the default one.
        states: gets each member's progress.
        untried: gets the files that onnxruntime may compute faster than llama.cpp, so that nobody waits for that
            trial; None = they are tried now.

    Raises:
        ConfigError, ModelLoadError, VocabularyError: from the first member that failed; the others are released.
    """
    if not isinstance(config, Config):
        config = read_config(Path(config) if config else None, os.environ)
    from gac_app.executors.threads import ThreadMember  # loads torch, so only after the configuration is checked

    planned = _planned(config)
    models = _load_models(config, planned, states or MemberStates(config), untried)
    try:
        return _unite(models, config, ThreadMember, are_apart=planned.are_apart)
    except BaseException:
        for model in models:
            model.close()
        raise


def _planned(config: Config) -> Plan:
    from gac_app.models.hardware import detect_devices, plan

    planned = plan(config.members, detect_devices())
    for warning in planned.warnings:
        logger.warning("%s", warning)
    return planned


def _load_models(config: Config, planned: Plan, states: MemberStates, untried: list[Path] | None) -> list[Model]:
    """All members' models, loaded in parallel."""
    load = partial(_load_member, config, states=states, unreachable=set(), untried=untried)
    with ThreadPoolExecutor(len(config.members), thread_name_prefix="load") as pool:
        loading = [pool.submit(load, member, planned.placements[member.name]) for member in config.members]
    errors = [error for future in loading if (error := future.exception())]
    models = [future.result() for future in loading if not future.exception()]
    if errors:
        for model in models:
            model.close()
        raise errors[0]
    return models


def _unite(
    models: list[Model], config: Config, new_member: Callable[[Model, VocabMapping], Member], *, are_apart: bool
) -> Ensemble:
    from gac_app.decoding.ensemble import Ensemble
    from gac_app.vocab.cache import unite

    mappings = unite([model.vocabulary for model in models], cache_dir(config))
    members = [new_member(*pair) for pair in zip(models, mappings, strict=True)]
    return Ensemble(members, config, are_apart=are_apart)


def _use_threads(service: RunService) -> None:
    untried: list[Path] = []
    ensemble = load_ensemble(service.config, service.states, untried=untried)
    service.use(ensemble, partial(kept_by, ensemble))
    threading.Thread(target=_try, args=(untried, cache_dir(service.config)), name="try-onnx", daemon=True).start()


def _try(untried: list[Path], cache: Path) -> None:
    """Try onnxruntime, one file after the other. A member keeps its back end while the server runs."""
    if untried:
        from gac_app.models.onnx.parts import onnx_parts
    for gguf in untried:
        logger.info("%s runs on llama.cpp; onnxruntime is tried for the next start", gguf.name)
        onnx_parts(gguf, cache)


def _use_zero_gpu(service: RunService, gpu: Gpu) -> None:
    """Load the members one after another, in this thread, the only one to which `spaces` lends a GPU."""
    from gac_app.decoding.member import InlineMember
    from gac_app.executors.zero_gpu import on_zero_gpu

    config, states, placements = service.config, service.states, _planned(service.config).placements
    unreachable: set[str] = set()
    untried: list[Path] = []  # for good: the lent GPU's time is not for trials
    placements = {
        name: placement if placement.is_on_cpu else replace(placement, device="cuda")
        for name, placement in placements.items()
    }
    models = [
        _load_member(config, member, placements[member.name], states=states, unreachable=unreachable, untried=untried)
        for member in config.members
    ]
    ensemble = _unite(models, config, InlineMember, are_apart=False)
    service.use(ensemble, decodes_together=on_zero_gpu(ensemble, gpu))


def _load(service: RunService, use: Callable[[RunService], None]) -> None:
    try:
        use(service)
    except GacError as error:
        logger.error("%s", error)
        _mark_failed(service, str(error))
    except BaseException:  # of any kind: nobody would notice if this thread ended
        logger.exception("loading the members broke")
        _mark_failed(service, UNEXPECTED)


def kept_by(ensemble: Ensemble) -> dict[str, Any]:
    """By name, what each member in a thread keeps of ended runs, JSON-able."""
    from gac_app.executors.threads import ThreadMember

    members = [member for member in ensemble.members.values() if isinstance(member, ThreadMember)]
    return {member.name: asdict(member.kept) for member in members}


def _mark_failed(service: RunService, detail: str) -> None:
    """Mark a failure. If no single member caused it, mark all, so that none seems to be fine."""
    phases = {state.name: state.phase for state in service.member_states()}
    for name, phase in phases.items():
        if phase != "failed" and not (phase == "ready" and "failed" in phases.values()):
            service.states.set(name, "failed", detail=detail)


def _load_member(
    config: Config,
    member: MemberConfig,
    placement: Placement,
    *,
    states: MemberStates,
    unreachable: set[str],
    untried: list[Path] | None,
) -> Model:
    from gac_app.models.factory import load_model

    try:
        model = load_model(
            member,
            placement=placement,
            cache_dir=cache_dir(config),
            on_fetch=partial(states.set_fetching, member.name),
            on_load=lambda: states.set(member.name, "loading"),
            unreachable=unreachable,
            untried=untried,
        )
    except GacError as error:
        states.set(member.name, "failed", detail=str(error).removeprefix(f"{member.name}: "))
        raise
    states.set(member.name, "ready", detail=str(model.device), facts=facts_of(member, model))
    return model


def _versions() -> dict[str, str]:
    found = {"gac": __version__}
    for name in _VERSIONED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
