"""From a member's configuration to a loaded model. `backends` names the functions, which import what they need."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from gac_app.errors import ConfigError, GacError, ModelLoadError, in_one_line
from gac_app.member_config import RANDOM_PREFIX, MemberConfig
from gac_app.models.backends import LoadModel, LoadRequest, loader_of
from gac_app.models.base import Model
from gac_app.models.hardware import Placement
from gac_app.models.random_model import RandomModel
from gac_app.models.sources import ModelFiles, Progress, directory_here, resolve

logger = logging.getLogger(__name__)

RandomModelT = TypeVar("RandomModelT", bound=RandomModel)


def load_model(
    member: MemberConfig,
    *,
    placement: Placement,
    cache_dir: Path,
    on_fetch: Callable[[Progress], None],
    on_load: Callable[[], None],
    unreachable: set[str] | None = None,
    untried: list[Path] | None = None,
    load_elsewhere: LoadModel | None = None,
    wait: Callable[[str], bool] = lambda _: False,
) -> Model:
    """Fetch what is missing, then load.

    Args:
        placement: devices and CPU threads.
        on_fetch: called with the progress of a download.
        on_load: called when the files are there.
        unreachable: see `resolve`.
        untried: see `onnx_parts`.
        load_elsewhere: loads it on Ray, if its configuration says so.
        wait: see `LoadRequest`.

    Raises:
        ModelLoadError, ConfigError.
    """

    def fetch() -> ModelFiles:
        files = resolve(member, cache_dir, on_fetch, unreachable)
        on_load()
        return files

    if member.is_random:
        on_load()  # there may be nothing to fetch
    request = LoadRequest(member, fetch, placement.device, placement.num_threads, cache_dir, untried, wait)
    try:
        if member.server:
            from gac_app.models.remote.model import load_remote

            model: Model = load_remote(request, member.server)
        else:
            model = (load_elsewhere or loader_of(member.backend))(request)
    except GacError:
        raise
    except (Exception, SystemExit) as error:
        logger.exception("loading %s broke", member.name)
        raise ModelLoadError(f"{member.name}: cannot be loaded ({in_one_line(error)})") from error
    if not isinstance(model, Model):
        raise ModelLoadError(f"{member.name}: its back end gave {type(model).__name__}; expected a Model")
    if member.end_tokens == "configured":
        model.vocabulary = model.vocabulary.as_configured
    return model


def load_auto(request: LoadRequest) -> Model:
    """A random model; GGUF files on a CPU by onnxruntime or llama.cpp; everything else by transformers."""
    from gac_app.models.llama_cpp.library import LlamaCppMissingError, ProbeCrashed

    if request.member.is_random:
        return random_model(request.member, RandomModel)
    files = _fetched(request)
    if _is_gguf_on_cpu(files, request.device) and not request.member.adapter:
        try:
            _probe(request.member, files, request.cache_dir)
        except (LlamaCppMissingError, ProbeCrashed) as error:
            logger.warning("%s; it runs on transformers instead", error)
        else:
            from gac_app.models.onnx.parts import onnx_parts

            return _gguf_model(request, files, onnx_parts(files.path, request.cache_dir, request.untried))
    return load_transformers(request, files)


def load_llama_cpp(request: LoadRequest) -> Model:
    """A GGUF file by llama.cpp, on any machine."""
    name, files = request.member.name, _fetched(request)
    if files.kind != "gguf":
        raise ConfigError(f"members: {name}: backend 'llama_cpp' needs a .gguf file; got {files.path}")
    _probe(request.member, files, request.cache_dir)
    return _gguf_model(request, files, None)


def load_transformers(request: LoadRequest, files: ModelFiles | None = None) -> Model:
    """Any files by transformers."""
    from gac_app.models.hf.loading import load

    return load(request, files or _fetched(request))


def file_bytes(members: Iterable[MemberConfig], cache_dir: Path) -> dict[str, int]:
    """By name, the bytes of weights that are on this machine, of members whose number of parameters is unknown."""
    found = {}
    for member in members:
        if member.num_params or member.is_elsewhere or member.is_random:
            continue
        with suppress(ModelLoadError):  # whoever loads it says so
            if directory := directory_here(member, cache_dir):
                found[member.name] = sum(path.stat().st_size for path in directory.glob("*.safetensors"))
    return found


def prepare(member: MemberConfig, files: ModelFiles, device: str | tuple[str, ...], cache_dir: Path) -> None:
    """Make what a start would otherwise make beside the member's files: onnxruntime's graph and its trial."""
    if member.backend == "auto" and not member.adapter and _is_gguf_on_cpu(files, device):
        from gac_app.models.onnx.parts import onnx_parts

        onnx_parts(files.path, cache_dir)


def _fetched(request: LoadRequest) -> ModelFiles:
    files = request.fetch()
    if files.kind == "gguf" and find_spec("gguf") is None:
        what = "a GGUF file needs more packages; install them: pip install '.[cpu]' in the project's folder"
        raise ModelLoadError(f"{request.member.name}: {what}")
    return files


def _is_gguf_on_cpu(files: ModelFiles, device: str | tuple[str, ...]) -> bool:
    """Whether llama.cpp or onnxruntime can load it: the wheel has no code for GPUs."""
    return files.kind == "gguf" and device == "cpu"


def _probe(member: MemberConfig, files: ModelFiles, cache_dir: Path) -> None:
    """Raise ModelLoadError unless llama.cpp can load the file here."""
    from gac_app.models.llama_cpp.library import LlamaCppMissingError, ProbeCrashed, library, probe

    try:
        library()
        probe(files.path, cache_dir)
    except (LlamaCppMissingError, ProbeCrashed) as error:
        raise type(error)(f"{member.name}: {error}") from error
    except ModelLoadError as error:
        raise ModelLoadError(f"{member.name}: {error} ({files.path})") from error


def _gguf_model(request: LoadRequest, files: ModelFiles, parts: Path | None) -> Model:
    """By onnxruntime where there are `parts` of a graph, else by llama.cpp."""
    from gac_app.models.llama_cpp.model import LlamaCppModel
    from gac_app.models.onnx.model import OnnxModel

    name, options = request.member.name, {"num_threads": request.num_threads, **request.member.model_options}
    return OnnxModel(name, (files.path, parts), **options) if parts else LlamaCppModel(name, files.path, **options)


def random_model(member: MemberConfig, kind: type[RandomModelT]) -> RandomModelT:
    """A model from a seed. Raises ConfigError if the source is invalid."""
    seed = str(member.source).removeprefix(RANDOM_PREFIX)
    if not seed.isdecimal():
        raise ConfigError(f"members: {member.name}: expected 'random:' and a whole number, got {member.source!r}")
    context_length = member.context_length or 4096
    return kind(member.name, int(seed), context_length=context_length, max_sequences=member.max_sequences)
