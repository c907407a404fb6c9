"""Graphs of GGUF files for onnxruntime: made once, tried in a child process (see `trial`), and kept if that pays."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import logging
import math
import platform
import shutil
import subprocess
from pathlib import Path

from gac_app.models.child_process import ChildFailed, run_module
from gac_app.models.derived import derived
from gac_app.models.gguf import Unsuited
from gac_app.models.hardware import main_memory_bytes
from gac_app.models.llama_cpp.library import BINDING
from gac_app.models.onnx.architecture import architecture_of
from gac_app.models.onnx.layout import GRAPH_FILE

logger = logging.getLogger(__name__)

_MOST_BYTES = 3 << 29  # larger files get no graph
_MOST_SHARE = 1 / 8  # of main memory; larger files get no graph, since making it takes three times as much
_FORMAT = 4  # version of the derived files; a new number remakes them
_TIMEOUT_S = 300


def onnx_parts(gguf: Path, cache_dir: Path) -> Path | None:
    """The directory that `OnnxModel` needs beside the file; None if llama.cpp should compute it.

    The first call for a file may take half a minute, while a child process tries both.
    """
    if any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxruntime")):
        return None
    versions = [importlib.metadata.version(name) for name in (BINDING, "onnxruntime")]
    try:
        target = derived(gguf, cache_dir / "onnx", lambda folder: _try(gguf, folder), _FORMAT, versions, _processor())
    except OSError as error:  # nothing can be kept
        logger.info("%s is llama.cpp's: %s", gguf.name, error)
        return None
    return target if (target / GRAPH_FILE).exists() else None


def _processor() -> str:
    """Identifies how weights are packed: another processor needs other packing."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if known := {line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}:
            return "\n".join(sorted(known))
    return f"{platform.machine()} {platform.processor()}"


def _try(gguf: Path, folder: Path) -> None:
    """Make the derived files. The directory stays empty if llama.cpp should compute the file."""
    try:
        memory_bytes = main_memory_bytes()
        if gguf.stat().st_size > min(_MOST_BYTES, _MOST_SHARE * memory_bytes if memory_bytes else math.inf):
            raise Unsuited("it is large")
        architecture_of(gguf)  # fails at once, not only in the child
        _run_child(gguf, folder)
    except Unsuited as reason:
        logger.info("%s is llama.cpp's: %s", gguf.name, reason)
        shutil.rmtree(folder)
        folder.mkdir()


def _run_child(gguf: Path, directory: Path) -> None:
    """Write the graph and try it in a child process, where an abort in C does no harm. Raises Unsuited."""
    try:
        printed = run_module("gac_app.models.onnx.trial", gguf, directory, timeout_s=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise Unsuited(f"trying it took more than {_TIMEOUT_S} s") from None
    except ChildFailed as failure:
        raise Unsuited(str(failure)) from None
    logger.info("%s is onnxruntime's: %s", gguf.name, printed.strip())
