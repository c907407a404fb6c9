"""From a member's configuration to a loaded model: chooses the back end and imports it on use."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from gac_app.errors import ConfigError, ModelLoadError
from gac_app.member_config import RANDOM_PREFIX, MemberConfig
from gac_app.models.backends import LoadRequest, loader_of
from gac_app.models.base import Model
from gac_app.models.hardware import Placement
from gac_app.models.sources import ModelFiles, Progress, resolve

logger = logging.getLogger(__name__)


def load_model(
    member: MemberConfig,
    *,
    placement: Placement,
    cache_dir: Path,
    on_fetch: Callable[[Progress], None],
    on_load: Callable[[], None],
    unreachable: set[str] | None = None,
    untried: list[Path] | None = None,
) -> Model:
    """Fetch what is missing, then load.

    Args:
        placement: devices and CPU threads.
        on_fetch: called with the progress of a download.
        on_load: called when the files are there.
        unreachable: see `resolve`.
        untried: see `onnx_parts`.

    Raises:
        ModelLoadError, ConfigError.
    """
    if load_own := loader_of(member.backend):
        fetch = partial(resolve, member, cache_dir, on_fetch, unreachable)
        on_load()
        return load_own(LoadRequest(member, fetch, placement.device, placement.num_threads, cache_dir))
    if member.is_random:
        on_load()
        return _random_model(member)
    files = resolve(member, cache_dir, on_fetch, unreachable)
    on_load()
    if files.kind == "gguf" and find_spec("gguf") is None:
        raise ModelLoadError(
            f"{member.name}: a GGUF file needs more packages; install them: pip install 'gac-app[cpu]'"
        )
    if _runs_on_llama_cpp(member, files, placement.device):
        model = _gguf_model(member, files, placement.num_threads, cache_dir, untried)
        if model is not None:
            return model
    from gac_app.models.hf import load

    return load(member, files, cache_dir, placement.device, placement.num_threads)


def prepare(member: MemberConfig, files: ModelFiles, device: str | tuple[str, ...], cache_dir: Path) -> None:
    """Make what a start would otherwise make beside the member's files: onnxruntime's graph and its trial."""
    if member.backend == "auto" and _runs_on_llama_cpp(member, files, device):
        from gac_app.models.onnx.parts import onnx_parts

        onnx_parts(files.path, cache_dir)


def _runs_on_llama_cpp(member: MemberConfig, files: ModelFiles, device: str | tuple[str, ...]) -> bool:
    """Whether llama.cpp or onnxruntime loads it: GGUF on a CPU (the wheel has no GPU code). Otherwise transformers
    does.
    """
    if member.backend == "llama_cpp" and files.kind != "gguf":
        raise ConfigError(f"members: {member.name}: backend 'llama_cpp' needs a .gguf file, and {files.path} is none")
    return files.kind == "gguf" and (member.backend == "llama_cpp" or (member.backend == "auto" and device == "cpu"))


def _gguf_model(
    member: MemberConfig, files: ModelFiles, num_threads: int, cache_dir: Path, untried: list[Path] | None
) -> Model | None:
    """The model; None if llama.cpp does not work here and the configuration allows another back end."""
    from gac_app.models.llama_cpp.library import LlamaCppMissingError, ProbeCrashed, library, probe

    try:
        library()
        probe(files.path, cache_dir)
    except (LlamaCppMissingError, ProbeCrashed) as error:
        if member.backend == "llama_cpp":
            raise ModelLoadError(f"{member.name}: {error}") from error
        logger.warning("%s runs on transformers instead: %s", member.name, error)
        return None
    except ModelLoadError as error:
        raise ModelLoadError(f"{member.name}: {error} ({files.path})") from error
    from gac_app.models.llama_cpp.model import LlamaCppModel
    from gac_app.models.onnx.model import OnnxModel
    from gac_app.models.onnx.parts import onnx_parts

    parts = onnx_parts(files.path, cache_dir, untried) if member.backend == "auto" else None
    make = (
        partial(OnnxModel, member.name, (files.path, parts))
        if parts
        else partial(LlamaCppModel, member.name, files.path)
    )
    return make(
        num_threads=num_threads,
        context_length=member.context_length,
        max_sequences=member.max_sequences,
        chat_template=member.chat_template,
        template_options=member.chat_template_kwargs,
    )


def _random_model(member: MemberConfig) -> Model:
    from gac_app.models.random_model import RandomModel

    seed = str(member.source).removeprefix(RANDOM_PREFIX)
    if not seed.isdecimal():
        raise ConfigError(f"members: {member.name}: expected 'random:' and a whole number, got {member.source!r}")
    context_length = member.context_length or 4096
    return RandomModel(member.name, int(seed), context_length=context_length, max_sequences=member.max_sequences)
