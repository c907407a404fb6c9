"""llama.cpp's C functions, through the binding's CFFI module. The only file that imports it.

The binding's high-level class gives neither full logits of several sequences nor access to the cache, so the C API
(include/llama.h) is called directly. A failed assertion in C ends the process, so files are first tried in a child
process.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any

from gac_app.errors import ModelLoadError
from gac_app.models.child_process import ChildFailed, run_module
from gac_app.models.derived import derived

BINDING = "llama-cpp-py-sync"
_PROBE_S, _READ_BYTES_PER_S = 120, 20e6  # the trial reads the whole file, at least as fast as a slow disk
_once = threading.Lock()  # members load in parallel: a second callback would free the first while C calls it


class LlamaCppMissingError(ModelLoadError):
    """llama.cpp does not run on this machine."""


class ProbeCrashed(ModelLoadError):  # noqa: N818 (it happened to the child)
    """llama.cpp crashed the child process: the file is damaged, or the wheel does not suit this processor."""


def library() -> tuple[Any, Any]:
    """(ffi, lib), loaded once, with its log silenced. Raises LlamaCppMissingError if there is no usable wheel."""
    with _once:
        return _open_library()[:2]


@cache
def _open_library() -> tuple[Any, Any, Any]:
    try:
        from llama_cpp_py_sync._cffi_bindings import get_ffi, get_lib

        ffi, lib = get_ffi(), get_lib()
    except (ImportError, OSError, RuntimeError) as error:
        raise LlamaCppMissingError(f"llama.cpp is not available on this machine: {error}") from error
    silent = ffi.callback("void(enum ggml_log_level, const char *, void *)", lambda level, text, data: None)
    lib.llama_log_set(silent, ffi.NULL)
    lib.llama_backend_init()
    return ffi, lib, silent  # C keeps a pointer to it, so it must live as long as the library


def load_weights(path: Path, *, vocab_only: bool = False) -> Any:
    """The `llama_model *` of a GGUF file, or of its vocabulary and metadata. Raises ModelLoadError."""
    ffi, lib = library()
    params = lib.llama_model_default_params()
    params.n_gpu_layers, params.vocab_only = 0, vocab_only
    params.load_mode = lib.LLAMA_LOAD_MODE_NONE  # a mapped file that is cut short would end the process
    model = lib.llama_model_load_from_file(str(path).encode(), params)
    if model == ffi.NULL:
        raise ModelLoadError(f"{path.name}: llama.cpp cannot load it; is the file whole and a GGUF model?")
    return model


def probe(path: Path, cache_dir: Path) -> None:
    """Load a GGUF file and decode one token in a child process, so that an abort in C does no harm.

    A file that passed is remembered in `cache_dir`, and is not tried again.

    Raises:
        ModelLoadError: the file does not load; names the file and the reason.
        ProbeCrashed: a signal killed the child.
    """
    try:
        derived(path, cache_dir / "probed", lambda _: _probe(path), 1, importlib.metadata.version(BINDING))
    except OSError:  # without a writable cache, every start tries
        _probe(path)


def _probe(path: Path) -> None:
    timeout_s = _PROBE_S + path.stat().st_size / _READ_BYTES_PER_S
    try:
        run_module("gac_app.models.llama_cpp.library", path, timeout_s=timeout_s)
    except subprocess.TimeoutExpired:
        raise ModelLoadError(f"{path.name}: llama.cpp did not load it within {timeout_s:.0f} s") from None
    except ChildFailed as failure:
        if failure.signal:
            what = f"llama.cpp crashed when the file was tried (signal {failure.signal})"
            raise ProbeCrashed(f"{path.name}: {what}") from None
        raise ModelLoadError(str(failure)) from None


def _decode_one_token(path: Path) -> None:
    ffi, lib = library()
    model = load_weights(path)
    params = lib.llama_context_default_params()
    params.n_ctx, params.n_threads, params.n_threads_batch = 64, 1, 1
    context = lib.llama_init_from_model(model, params)
    if context == ffi.NULL:
        raise ModelLoadError(f"{path.name}: llama.cpp cannot make a context for it")
    token = ffi.new("llama_token[1]", [0])
    status = lib.llama_decode(context, lib.llama_batch_get_one(token, 1))
    if status != 0:
        raise ModelLoadError(f"{path.name}: llama.cpp cannot decode with it (status {status})")


if __name__ == "__main__":
    try:
        _decode_one_token(Path(sys.argv[1]))
    except ModelLoadError as error:
        sys.exit(str(error))
