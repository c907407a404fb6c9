"""Graphs of GGUF files for onnxruntime: made once, tried in a child process (see `trial`), and kept if that pays."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import logging
import math
import platform
import shutil
import signal
import subprocess
import time
from pathlib import Path

from filelock import FileLock

from gac_app.models.child_process import BUSY_STATUS, ChildFailed, run_module
from gac_app.models.derived import derived, kept
from gac_app.models.gguf import Unsuited
from gac_app.models.hardware import main_memory_bytes
from gac_app.models.llama_cpp.library import BINDING
from gac_app.models.onnx.architecture import GRAPH_FILE, architecture_of

logger = logging.getLogger(__name__)

_MOST_BYTES = 3 << 29  # larger files get no graph
_MOST_SHARE = 1 / 8  # of main memory; larger files get no graph, since making it takes three times as much
_FORMAT = 6  # version of the derived files; a new number remakes them
_TIMEOUT_S = 300
_FROM_OUTSIDE = {signal.SIGINT, signal.SIGTERM, 9}  # signals that tell nothing of the file; Windows has no name for 9
_WHY_FILE = "unsuited.txt"  # says why llama.cpp should compute the file
_AGAIN_S = 3600  # a start this long after a trial that did not finish makes another one


class _Unfinished(Exception):  # noqa: N818 (no fault of the file)
    """The trial ended without a verdict. The text says why."""


def onnx_parts(gguf: Path, cache_dir: Path, untried: list[Path] | None = None) -> Path | None:
    """The directory that `OnnxModel` needs beside the file; None if llama.cpp should compute it.

    Without a verdict in the cache, a child process tries both, which may take half a minute: one file after the other,
    so that no trial slows another down.

    Args:
        untried: instead of a trial, the file is added to this list, and llama.cpp computes it for now.
    """
    if any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxruntime", "llama_cpp_py_sync")):
        return None
    versions = [importlib.metadata.version(name) for name in (BINDING, "onnxruntime")]
    facts = (_FORMAT, versions, _processor())
    folder = cache_dir / "onnx"
    target = kept(gguf, folder, *facts)
    has_verdict = target and any((target / name).exists() for name in (GRAPH_FILE, _WHY_FILE))
    if target and not has_verdict and time.time() - target.stat().st_mtime > _AGAIN_S:
        shutil.rmtree(target, ignore_errors=True)
        target = None
    if target is None and untried is not None:
        untried.append(gguf)
        return None
    if target is None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / "trial.lock"):
                target = derived(gguf, folder, lambda made: _try(gguf, made), *facts)
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
    """Make the derived files: a graph, or why llama.cpp should compute the file; none if the trial does not finish."""
    try:
        memory_bytes = main_memory_bytes()
        if gguf.stat().st_size > min(_MOST_BYTES, _MOST_SHARE * memory_bytes if memory_bytes else math.inf):
            raise Unsuited("it is large")
        architecture_of(gguf)  # fails at once, not only in the child
        _run_child(gguf, folder)
    except Unsuited as reason:
        logger.info("%s is llama.cpp's: %s", gguf.name, reason)
        _empty(folder)
        (folder / _WHY_FILE).write_text(f"{reason}\n", encoding="utf-8")
    except _Unfinished as reason:
        logger.warning("%s stays with llama.cpp; a later start tries again: %s", gguf.name, reason)
        _empty(folder)


def _empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _run_child(gguf: Path, directory: Path) -> None:
    """Write the graph and try it in a child process, where an abort in C does no harm. Raises Unsuited, _Unfinished."""
    try:
        printed = run_module("gac_app.models.onnx.trial", gguf, directory, timeout_s=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise _Unfinished(f"trying onnxruntime took more than {_TIMEOUT_S} s") from None
    except ChildFailed as failure:
        if failure.signal in _FROM_OUTSIDE:
            raise _Unfinished(f"the trial of onnxruntime was killed (signal {failure.signal})") from None
        if failure.status == BUSY_STATUS:
            raise _Unfinished(str(failure)) from None
        raise Unsuited(str(failure)) from None
    logger.info("%s is onnxruntime's: %s", gguf.name, printed.strip())
