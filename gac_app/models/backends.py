"""Back ends by name: the package's own, and those that plug-ins register."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from gac_app.config import Config
from gac_app.errors import ConfigError
from gac_app.member_config import MemberConfig
from gac_app.plugins import code_of, may_be_replaced

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
        untried: see `onnx_parts`.
        wait: is told why its server is not there, and waits for a moment; False = for nothing.
    """

    member: MemberConfig
    fetch: Callable[[], ModelFiles]
    device: str | tuple[str, ...]
    num_threads: int
    cache_dir: Path
    untried: list[Path] | None = None
    wait: Callable[[str], bool] = lambda _: False


LoadModel = Callable[[LoadRequest], "Model"]

# A text is "module:function" of the package; the module, with its heavy libraries, is imported when a member is loaded.
_LOADERS: dict[str, LoadModel | str] = {
    "auto": "gac_app.models.factory:load_auto",
    "llama_cpp": "gac_app.models.factory:load_llama_cpp",
    "transformers": "gac_app.models.factory:load_transformers",
    "vllm": "gac_app.models.remote.vllm:load_vllm",
}


def backend(name: str, *, replace: bool = False) -> Callable[[LoadModel], LoadModel]:
    """Decorates the function that loads members with `backend: NAME`.

    Args:
        replace: a plug-in's of this name is replaced.

    Raises:
        ConfigError: the name is taken.
    """

    def add(load: LoadModel) -> LoadModel:
        taken = _LOADERS.get(name)
        if taken and (isinstance(taken, str) or not may_be_replaced(taken, replace=replace)):
            raise ConfigError(f"plugins: there is a back end {name!r} already; name yours otherwise")
        code_of(load)  # now: its file may be edited while the members load
        _LOADERS[name] = load
        return load

    return add


def loader_of(name: str) -> LoadModel:
    """The function that loads members with this back end, which `check_backends` has let pass."""
    load = _LOADERS[name]
    return resolve_name(load) if isinstance(load, str) else load


def check_backends(config: Config) -> None:
    """Raise ConfigError if a member's back end is not registered."""
    for index, member in enumerate(config.members):
        if member.backend not in _LOADERS:
            known = ", ".join(_LOADERS)
            raise ConfigError(f"members.{index}.backend: unknown back end {member.backend!r}; expected {known}")
