"""GGUF files as graphs for onnxruntime: made once, tried in a child process, and kept in the cache where that pays.

Whether a graph is still the same model, and faster than llama.cpp, is measured: an architecture that does more than a
graph knows of is told by its other logits.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import logging
import math
import platform
import shutil
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from gac_app.models.base import Model, Read, Sequence
from gac_app.models.child_process import ChildFailed, run_module
from gac_app.models.derived import derived
from gac_app.models.gguf.reading import Unsuited
from gac_app.models.hardware.devices import main_memory_bytes
from gac_app.models.llama_cpp.library import BINDING
from gac_app.models.llama_cpp.model import LlamaCppModel
from gac_app.models.onnx.architecture import architecture_of
from gac_app.models.onnx.graph import write
from gac_app.models.onnx.layers import FloatArray
from gac_app.models.onnx.layout import GRAPH_FILE, Layout
from gac_app.models.onnx.model import OnnxModel

logger = logging.getLogger(__name__)

_MOST_BYTES = 3 << 29  # of a file of which a graph is made
_MOST_SHARE = 1 / 8  # of main memory, that such a file may be large: making its graph takes three times as much
_FORMAT = 3  # of what is kept; a new number makes it anew
_TIMEOUT_S = 300
_TEXT = (  # by whose logits models are compared: of no text they are anybody's
    "The history of the town begins in the ninth century, when monks built a small chapel by the river. Who asks the "
    "people there what they live on is told of three things: the mill, the market on Thursdays, and the school."
)
_CUTS = (24, 7, 1, 9, 1)  # ids of it read at once: the first by itself, then the others one after the other
_INVARIANT = (((5,), (1, 2, 1)), ((70,), (1, 1, 3)), ((300,), (1, 40, 1, 2)))  # cuts: of what comes before, of the rest
_OTHER = 0.06  # logits are another model's from this distance on, relative to their own length (see `_distance`)
_ROUNDS, _STEPS = 6, 3  # of timing; the fastest round counts: what else the machine does only adds to it
_SIZES = (1, 2, 4)  # steps in a pass
_PROMPT_IDS = 100  # behind which they are timed
_SLOWER = 1.05  # what a pass of one step may take of what it took
_SLOWER_INVARIANT = 1.25  # the same, where answers do not depend on what else runs: with llama.cpp they do


def onnx_parts(gguf: Path, cache_dir: Path) -> Path | None:
    """The directory with what `OnnxModel` needs beside the file; None where llama.cpp had better compute it.

    The first call for a file may take twenty seconds, in which a child process tries both.
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
    """What decides how weights are packed: packed for another processor they would be other weights."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if known := {line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}:
            return "\n".join(sorted(known))
    return f"{platform.machine()} {platform.processor()}"


def _try(gguf: Path, folder: Path) -> None:
    """Make what is kept of a file; where llama.cpp is to compute it, the directory stays empty."""
    try:
        memory_bytes = main_memory_bytes()
        if gguf.stat().st_size > min(_MOST_BYTES, _MOST_SHARE * memory_bytes if memory_bytes else math.inf):
            raise Unsuited("it is large")
        architecture_of(gguf)  # tells at once what a child would tell later
        _run_child(gguf, folder)
    except Unsuited as reason:
        logger.info("%s is llama.cpp's: %s", gguf.name, reason)
        shutil.rmtree(folder)
        folder.mkdir()


def _run_child(gguf: Path, directory: Path) -> None:
    """Write the graph and try it where an abort in C harms nobody. Raises Unsuited."""
    try:
        printed = run_module("gac_app.models.onnx.parts", gguf, directory, timeout_s=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise Unsuited(f"trying it took more than {_TIMEOUT_S} s") from None
    except ChildFailed as failure:
        raise Unsuited(str(failure)) from None
    logger.info("%s is onnxruntime's: %s", gguf.name, printed.strip())


# --- in the child


def _main(gguf: Path, directory: Path) -> None:
    write(gguf, directory)
    with (
        closing(LlamaCppModel("llama.cpp", gguf, context_length=512, max_sequences=max(_SIZES))) as before,
        closing(OnnxModel("onnxruntime", gguf, directory, context_length=512, max_sequences=max(_SIZES))) as now,
    ):
        _compare_logits(before, now)
        layout = replace(
            Layout.load(directory),
            is_batch_invariant=_is_batch_invariant(now),
            is_chunk_invariant=_is_chunk_invariant(now),
        )
        layout.save(directory)
        print(_compare_times(before, now, is_invariant=layout.is_batch_invariant and layout.is_chunk_invariant))


def _compare_logits(before: Model, now: Model) -> None:
    """Raises Unsuited where they are not the same."""
    ids = now.encode_raw(_TEXT)
    distance = max(_distance(_logits(before, cuts, ids), _logits(now, cuts, ids)) for cuts in (_CUTS[:1], _CUTS[1:]))
    if not distance <= _OTHER:
        raise Unsuited(f"it gives other logits, by {distance:.3f} of their length")


def _distance(one_NV: FloatArray, other_NV: FloatArray) -> float:
    """How far logits are from each other, less what their softmax does not see, relative to their own length: a mean.

    Between llama.cpp and a graph 0.03 to 0.04, as far as either is from the same weights in float32: both round
    activations. Rotary embeddings of another base in five layers of six make it 0.07.
    """
    one_NV, other_NV = (logits_NV - logits_NV.mean(1, keepdims=True) for logits_NV in (one_NV, other_NV))
    return float((np.linalg.norm(one_NV - other_NV, axis=1) / np.linalg.norm(one_NV, axis=1)).mean())


def _logits(model: Model, cuts: tuple[int, ...], ids: list[int]) -> FloatArray:
    """Of the first ids, read in parts so long."""
    sequence, found = model.new_sequence(), []
    for cut in cuts:
        sequence.extend(ids[len(sequence.ids) : len(sequence.ids) + cut])
        found.append(model.read([Read(sequence, cut)])[0].numpy().copy())
    model.free(sequence)
    return np.concatenate(found)


def _is_chunk_invariant(model: Model) -> bool:
    """Whether it shows, in the last bits, how a sequence's ids are cut into passes: short and long behind others."""
    for before, rest in _INVARIANT:
        ids = _random_ids(model, sum(before) + sum(rest))
        cut, whole = (_logits(model, cuts, ids)[sum(before) :] for cuts in ((*before, *rest), (len(ids),)))
        if not np.array_equal(cut, whole):
            return False
    return True


def _is_batch_invariant(model: Model) -> bool:
    """Whether it shows, in the last bits, what else is in a pass: one sequence, others between and about, all."""
    starts = [sum(before) for before, _ in _INVARIANT]
    alone = [_logits(model, (start, 1, 1), _random_ids(model, start + 2))[start:] for start in starts]
    sequences = []
    for start in starts:
        sequences.append(model.new_sequence())
        sequences[-1].extend(_random_ids(model, start))
        model.read([Read(sequences[-1])])
    together: list[list[FloatArray]] = [[] for _ in sequences]
    for step in range(2):
        for sequence, start in zip(sequences, starts, strict=True):
            sequence.extend(_random_ids(model, start + 2)[start + step :][:1])
        for index, logits_NV in enumerate(model.read([Read(sequence) for sequence in sequences])):
            together[index].append(logits_NV.numpy().copy())
    for sequence in sequences:
        model.free(sequence)
    return all(np.array_equal(one, np.concatenate(others)) for one, others in zip(alone, together, strict=True))


def _random_ids(model: Model, num_ids: int) -> list[int]:
    """Always the same ones; those of a shorter row are the first of a longer one's."""
    return [(7919 * index + 104729) % len(model.vocabulary) for index in range(num_ids)]


def _compare_times(before: Model, now: Model, *, is_invariant: bool) -> str:
    """What steps took and take. Raises Unsuited where that is no less."""
    sequences = {model: _read_sequences(model) for model in (before, now)}
    times: dict[tuple[Model, int], list[float]] = {}
    for _ in range(_ROUNDS):
        for size in _SIZES:
            for model, held in sequences.items():
                times.setdefault((model, size), []).append(_seconds(model, held[:size]))
    took, takes = ([min(times[model, size]) for size in _SIZES] for model in (before, now))
    # Steps that are to share a pass are cut into passes as pays, so two or four of them cost no more than one each.
    took = [min(seconds, size * took[0]) for size, seconds in zip(_SIZES, took, strict=True)]
    shown = ", ".join(f"{1000 * b:.1f} -> {1000 * n:.1f}" for b, n in zip(took, takes, strict=True))
    figures = f"{shown} ms for {', '.join(map(str, _SIZES))} steps"
    if takes[0] > (_SLOWER_INVARIANT if is_invariant else _SLOWER) * took[0] or sum(takes) > sum(took):
        raise Unsuited(f"it is no faster ({figures})")
    return figures


def _read_sequences(model: Model) -> list[Sequence]:
    """As many as the largest pass has, with a prompt each."""
    sequences = [model.new_sequence() for _ in range(max(_SIZES))]
    for sequence in sequences:
        sequence.extend(_random_ids(model, _PROMPT_IDS))
        model.read([Read(sequence)])
    return sequences


def _seconds(model: Model, sequences: list[Sequence]) -> float:
    """Of a pass over a step of each."""
    marks = []
    for step in range(_STEPS):
        for sequence in sequences:
            sequence.extend([(1000 + 31 * sequence.slot + step) % len(model.vocabulary)])
        marks.append(time.perf_counter())
        model.read([Read(sequence) for sequence in sequences])
    marks.append(time.perf_counter())
    for sequence in sequences:
        model.rewind(sequence, _PROMPT_IDS)
    return (marks[-1] - marks[1]) / (_STEPS - 1)


if __name__ == "__main__":
    try:
        _main(Path(sys.argv[1]), Path(sys.argv[2]))
    except Unsuited as reason:
        sys.exit(str(reason))
