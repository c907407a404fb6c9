"""GGUF files in two, for `outer_layers`: split once, tried in a child process, and kept in the cache where that pays.

Whether the parts are still the same model, and faster, is measured: an architecture that does more at its ends than
multiply is told by its other logits.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import logging
import platform
import shutil
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from gac_app.models.base import Read, Sequence
from gac_app.models.derived import derived
from gac_app.models.gguf_parts import Unsuited, output_bytes, write
from gac_app.models.llama_cpp_library import BINDING
from gac_app.models.llama_cpp_model import LlamaCppModel
from gac_app.models.outer_layers import INNER_FILE

logger = logging.getLogger(__name__)

_LEAST_BYTES, _LEAST_SHARE = 4 << 20, 0.2  # of an output layer that is worth a second copy of the others; of the file
_FORMAT = 1  # of what is kept; a new number splits anew
_TIMEOUT_S = 300
_TRIED_IDS = 12  # of which logits are compared
_SAME = 0.005  # the largest difference, relative to the largest logit, that rounding makes (seen: 0.0006)
_ROUNDS, _STEPS = 4, 3  # of timing
_SIZES = (1, 2, 4)  # steps in a pass
_SLOWER = 1.05  # what a pass of one step may take of what it took


def split(gguf: Path, cache_dir: Path) -> Path | None:
    """The directory with the file's parts; None where llama.cpp had better compute the whole of it.

    The first call for a file may take ten seconds, in which a child process tries both.
    """
    if any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxruntime")):
        return None
    versions = [importlib.metadata.version(name) for name in (BINDING, "onnxruntime")]
    try:
        target = derived(gguf, cache_dir / "split", lambda folder: _try(gguf, folder), _FORMAT, versions, _processor())
    except OSError as error:  # nothing can be kept
        logger.info("%s stays whole: %s", gguf.name, error)
        return None
    return target if (target / INNER_FILE).exists() else None


def _processor() -> str:
    """What decides how weights are packed: packed for another processor they would be other weights."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if known := {line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}:
            return "\n".join(sorted(known))
    return f"{platform.machine()} {platform.processor()}"


def _try(gguf: Path, folder: Path) -> None:
    """Split a file; where it is to stay whole, the directory stays empty."""
    try:
        if output_bytes(gguf) < max(_LEAST_BYTES, _LEAST_SHARE * gguf.stat().st_size):
            raise Unsuited("its output layer is small")
        _run_child(gguf, folder)
    except Unsuited as reason:
        logger.info("%s stays whole: %s", gguf.name, reason)
        shutil.rmtree(folder)
        folder.mkdir()


def _run_child(gguf: Path, directory: Path) -> None:
    """Write the parts and try them where an abort in C harms nobody. Raises Unsuited."""
    command = [sys.executable, "-m", "gac_app.models.gguf_split", str(gguf), str(directory)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise Unsuited(f"trying its parts took more than {_TIMEOUT_S} s") from None
    if done.returncode != 0:
        raise Unsuited((done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1])
    logger.info("%s is computed in parts: %s", gguf.name, done.stdout.strip())


# --- in the child


def _main(gguf: Path, directory: Path) -> None:
    write(gguf, directory)
    with (
        closing(LlamaCppModel("whole", gguf, context_length=256, max_sequences=max(_SIZES))) as whole,
        closing(LlamaCppModel("split", gguf, context_length=256, max_sequences=max(_SIZES), split=directory)) as parts,
    ):
        _compare_logits(whole, parts)
        print(_compare_times(whole, parts))


def _compare_logits(whole: LlamaCppModel, parts: LlamaCppModel) -> None:
    """Raises Unsuited where they are not the same."""
    ids = [token_id % len(whole.vocabulary) for token_id in range(1000, 1000 + 97 * _TRIED_IDS, 97)]
    found = []
    for model in (whole, parts):
        sequence = model.new_sequence()
        rows = [_logits(model, sequence, ids[:-3], len(ids) - 3)]  # as a prompt is read, then as steps are
        rows += [_logits(model, sequence, [token_id], 1) for token_id in ids[-3:]]
        model.free(sequence)
        found.append(np.concatenate(rows))
    difference = float(np.abs(found[0] - found[1]).max() / np.abs(found[0]).max())
    if not difference <= _SAME:
        raise Unsuited(f"its parts give other logits, by {difference:.3f} of the largest")


def _compare_times(whole: LlamaCppModel, parts: LlamaCppModel) -> str:
    """What steps took and take. Raises Unsuited where that is no less."""
    times: dict[tuple[LlamaCppModel, int], list[float]] = {}
    for _ in range(_ROUNDS):
        for size in _SIZES:
            for model in (whole, parts):
                times.setdefault((model, size), []).append(_seconds(model, size))
    before, now = ([median(times[model, size]) for size in _SIZES] for model in (whole, parts))
    # Steps that are to share a pass are cut into passes as pays, so two or four of them cost no more than one each.
    before = [min(seconds, size * before[0]) for size, seconds in zip(_SIZES, before, strict=True)]
    shown = ", ".join(f"{1000 * b:.1f} -> {1000 * n:.1f}" for b, n in zip(before, now, strict=True))
    figures = f"{shown} ms for {', '.join(map(str, _SIZES))} steps"
    if now[0] > _SLOWER * before[0] or sum(now) > sum(before):
        raise Unsuited(f"its parts are no faster ({figures})")
    return figures


def _seconds(model: LlamaCppModel, num_steps: int) -> float:
    """Of a pass over so many steps."""
    sequences = [model.new_sequence() for _ in range(num_steps)]
    marks = []
    for step in range(_STEPS):
        for sequence in sequences:
            sequence.extend([(1000 + 31 * sequence.slot + step) % len(model.vocabulary)])
        marks.append(time.perf_counter())
        model.read([Read(sequence) for sequence in sequences])
    marks.append(time.perf_counter())
    for sequence in sequences:
        model.free(sequence)
    return (marks[-1] - marks[1]) / (_STEPS - 1)


def _logits(model: LlamaCppModel, sequence: Sequence, ids: list[int], num_logits: int) -> np.ndarray[Any, Any]:
    sequence.extend(ids)
    return model.read([Read(sequence, num_logits)])[0].numpy().copy()


if __name__ == "__main__":
    try:
        _main(Path(sys.argv[1]), Path(sys.argv[2]))
    except Unsuited as reason:
        sys.exit(str(reason))
