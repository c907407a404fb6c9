"""The composition root: from a configuration to running services. The only module that knows concrete classes."""

from __future__ import annotations

import gc
import importlib.metadata
import logging
import platform
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gac_app import __version__
from gac_app.config import Config
from gac_app.environment import cache_dir, database_url, evaluation_dir, mirror_dir
from gac_app.errors import UNEXPECTED, GacError, StorageError
from gac_app.loading import load_ensemble, load_models, planned, unite
from gac_app.services.battles.arena import ArenaService
from gac_app.services.lab.lab import Lab
from gac_app.services.members import Members, MemberState
from gac_app.services.mirror.dataset import Dataset
from gac_app.services.mirror.exports import Exports
from gac_app.services.mirror.mirror import Mirror
from gac_app.services.runs.runs import RunService
from gac_app.storage import Store

if TYPE_CHECKING:  # torch loads when the page is up already
    from gac_app.decoding.ensemble import Ensemble
    from gac_app.executors.zero_gpu import Gpu

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
        self.runs.close()


def build_services(
    config: Config, gpu: Gpu | None = None, tell: Callable[[MemberState], None] = lambda _: None
) -> Services:
    """Open the database and start loading the members in the background. The services can be used at once.

    Args:
        gpu: `spaces.GPU`, on a ZeroGPU Space. Then the members are loaded before this returns, and there is no lab.
        tell: is told each state of a member; see `Members`.

    Raises:
        StorageError: the database cannot be opened.
        ConfigError: the lab's questions cannot be used.
    """
    store = Store(database_url(config), server=f"{platform.node()}:{config.server.port}")
    services = connect(config, store, versions_of(), Members(config, tell), has_lab=gpu is None)
    if gpu is None:
        threading.Thread(target=_get_ready, args=(config, services), name="load-members", daemon=True).start()
    else:
        _load(config, services.runs.members, gpu)
    return services


def _get_ready(config: Config, services: Services) -> None:
    _load(config, services.runs.members, None)
    if services.arena:
        with suppress(StorageError):  # the next look at the leaderboard reads the votes again
            services.arena.standings.rated("blind")  # loads scipy and reads all votes


def connect(
    config: Config, store: Store, versions: Mapping[str, str], members: Members, *, has_lab: bool = False
) -> Services:
    """The services over a database. Their members are not loaded yet.

    Raises:
        ConfigError: the lab's questions cannot be used.
    """
    runs = RunService(config, store, versions, members=members, mirror=_mirror_of(config, store))
    lab = None
    if has_lab and config.lab.is_open:
        lab = Lab(config, evaluation_dir(config), partial(_for_a_study, runs.members), store)
        runs.companions.append(lab)
    arena = ArenaService(runs, store) if config.arena.is_open else None
    return Services(runs, lab, arena, Exports(store))


def _mirror_of(config: Config, store: Store) -> Mirror | None:
    wanted = config.mirror
    if wanted.folder:
        return Mirror(store, wanted.folder)
    if not wanted.dataset:
        return None
    folder = mirror_dir(config)
    return Mirror(store, folder, Dataset(wanted.dataset, folder, wanted.every_minutes))


def _for_a_study(members: Members) -> tuple[Ensemble, Callable[[], None]]:
    from gac_app.executors.members import in_background

    return in_background(members.ensemble())


def _use_threads(config: Config, members: Members) -> None:
    untried: list[Path] = []
    ensemble = load_ensemble(config, members, untried=untried)
    members.use(ensemble, partial(kept_by, ensemble))
    threading.Thread(target=_try, args=(untried, cache_dir(config)), name="try-onnx", daemon=True).start()


def _try(untried: list[Path], cache: Path) -> None:
    """Try onnxruntime, one file after the other. A member keeps its back end while the server runs."""
    if untried:
        from gac_app.models.onnx.parts import onnx_parts
    for gguf in untried:
        logger.info("%s runs on llama.cpp; onnxruntime is tried for the next start", gguf.name)
        onnx_parts(gguf, cache)


def _use_zero_gpu(config: Config, members: Members, gpu: Gpu) -> None:
    """Load the members one after another, in this thread, the only one to which `spaces` lends a GPU."""
    from gac_app.decoding.member import InlineMember
    from gac_app.executors.zero_gpu import on_zero_gpu

    found = planned(config)
    placements = {
        name: placement if placement.is_on_cpu else replace(placement, device="cuda")
        for name, placement in found.placements.items()
    }
    # Files stay untried for good: the lent GPU's time is not for trials.
    models = load_models(config, replace(found, placements=placements), members, untried=[], num_at_once=1)
    ensemble = unite(models, config, InlineMember, devices_disjoint=False)
    members.use(ensemble, decodes_together=on_zero_gpu(ensemble, gpu))


def _load(config: Config, members: Members, gpu: Gpu | None) -> None:
    try:
        if gpu is None:
            _use_threads(config, members)
        else:
            _use_zero_gpu(config, members, gpu)
        gc.freeze()  # what was loaded stays; collecting it as well would hold up everybody
    except GacError as error:
        logger.error("%s", error)
        members.set_failed(str(error))
    except BaseException:  # of any kind: nobody would notice if this thread ended
        logger.exception("loading the members broke")
        members.set_failed(UNEXPECTED)


def kept_by(ensemble: Ensemble) -> dict[str, Any]:
    """By name, what each member in a thread keeps of ended runs, JSON-able."""
    from gac_app.executors.threads import ThreadMember

    members = [member for member in ensemble.members.values() if isinstance(member, ThreadMember)]
    return {member.name: asdict(member.kept) for member in members}


def versions_of(packages: Iterable[str] = _VERSIONED) -> dict[str, str]:
    """The versions of this program and of those packages that are installed."""
    found = {"gac": __version__}
    for name in packages:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
