"""Back ends from plug-ins: they load members whose `backend` is not a built-in one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gac_app.config import Config
from gac_app.errors import ConfigError
from gac_app.member_config import BUILT_IN_BACKENDS, MemberConfig

if TYPE_CHECKING:  # torch loads when members do
    from gac_app.models.base import Model
    from gac_app.models.sources import ModelFiles


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """What a back end needs to load a member.

    Attributes:
        fetch: gives the files of the member's `source`, fetched into the cache if needed. Calling it is optional.
        device: "cpu", "cuda:0", or several for one member.
        num_threads: CPU threads of one forward pass.
        cache_dir: where files derived from the model's may be kept.
    """

    member: MemberConfig
    fetch: Callable[[], ModelFiles]
    device: str | tuple[str, ...]
    num_threads: int
    cache_dir: Path


LoadModel = Callable[[LoadRequest], "Model"]

_LOADERS: dict[str, LoadModel] = {}


def backend(name: str, *, replace: bool = False) -> Callable[[LoadModel], LoadModel]:
    """Decorates the function that loads members with `backend: NAME`.

    Args:
        replace: a registered one of this name is replaced.

    Raises:
        ConfigError: the name is taken.
    """

    def add(load: LoadModel) -> LoadModel:
        if (name in _LOADERS and not replace) or name in BUILT_IN_BACKENDS:
            raise ConfigError(f"plugins: there is a back end {name!r} already; name yours otherwise")
        _LOADERS[name] = load
        return load

    return add


def loader_of(name: str) -> LoadModel | None:
    """The loader of a plug-in's back end; None for a built-in one."""
    return _LOADERS.get(name)


def check_backends(config: Config) -> None:
    """Raise ConfigError if a member's back end is neither built in nor registered."""
    known = (*BUILT_IN_BACKENDS, *_LOADERS)
    for index, member in enumerate(config.members):
        if member.backend not in known:
            raise ConfigError(f"members.{index}.backend: {member.backend!r} is none; expected {', '.join(known)}")
