"""GGUF files in two, for `outer_layers`: split once, tried in a child process, and kept in the cache where that pays.

What llama.cpp is given is a model without a vocabulary: embeddings go in, and its output layer is the identity, so that
what it takes for logits are hidden states. Whether that is still the same model, and faster, is measured: an
architecture that does more at its ends than multiply is told by its other logits.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import logging
import math
import platform
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from filelock import FileLock
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter
from gguf.gguf_reader import ReaderTensor

from gac_app.models.base import Read, Sequence
from gac_app.models.llama_cpp_library import BINDING
from gac_app.models.llama_cpp_model import LlamaCppModel
from gac_app.models.outer_layers import BLOCK, INNER_FILE, OUTPUT_FILE, Q8_0, EmbeddingLayout

logger = logging.getLogger(__name__)

_EMBEDDING, _OUTPUT = "token_embd.weight", "output.weight"  # where there is no output layer, it is the embeddings
_LEAST_BYTES, _LEAST_SHARE = 4 << 20, 0.2  # of an output layer that is worth a second copy of the others; of the file
_FORMAT = 1  # of what is kept; a new number splits anew
_TIMEOUT_S = 300
_MOST_ITEMS = 1024  # of a list that is read: more are a vocabulary's
_TRIED_IDS = 12  # of which logits are compared
_SAME = 0.005  # the largest difference, relative to the largest logit, that rounding makes (seen: 0.0006)
_ROUNDS, _STEPS = 4, 3  # of timing
_SIZES = (1, 2, 4)  # steps in a pass
_SLOWER = 1.05  # what a pass of one step may take of what it took


class _Unsuited(Exception):  # noqa: N818 (no error: the file stays whole)
    """The file is better left whole."""


def split(gguf: Path, cache_dir: Path) -> Path | None:
    """The directory with the file's parts; None where llama.cpp had better compute the whole of it.

    The first call for a file may take ten seconds, in which a child process tries both.
    """
    if any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxruntime")):
        return None
    status = gguf.stat()
    versions = [importlib.metadata.version(name) for name in (BINDING, "onnxruntime")]
    key = f"{_FORMAT}\n{gguf.resolve()}\n{status.st_size}\n{status.st_mtime_ns}\n{versions}\n{_processor()}"
    target = cache_dir / "split" / f"{gguf.stem}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
    try:
        if not target.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(target.with_name(target.name + ".lock")):
                if not target.is_dir():  # another process may have split it while this one waited
                    _try(gguf, target)
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


def _try(gguf: Path, target: Path) -> None:
    """Split a file; where it is to stay whole, an empty directory says so."""
    work_dir = target.with_name(target.name + ".splitting")
    shutil.rmtree(work_dir, ignore_errors=True)  # left by a process that was killed
    work_dir.mkdir()
    try:
        _, output = _outer_layers(_read(gguf))
        if output.n_bytes < max(_LEAST_BYTES, _LEAST_SHARE * gguf.stat().st_size):
            raise _Unsuited("its output layer is small")
        _run_child(gguf, work_dir)
    except _Unsuited as reason:
        logger.info("%s stays whole: %s", gguf.name, reason)
        shutil.rmtree(work_dir)
        work_dir.mkdir()
    work_dir.replace(target)


def _run_child(gguf: Path, directory: Path) -> None:
    """Write the parts and try them where an abort in C harms nobody. Raises _Unsuited."""
    command = [sys.executable, "-m", "gac_app.models.gguf_split", str(gguf), str(directory)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise _Unsuited(f"trying its parts took more than {_TIMEOUT_S} s") from None
    if done.returncode != 0:
        raise _Unsuited((done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1])
    logger.info("%s is computed in parts: %s", gguf.name, done.stdout.strip())


def _read(gguf: Path) -> GGUFReader:
    try:
        return _Reader(gguf)
    except Exception as error:  # a damaged file's: whoever loads it will tell
        raise _Unsuited(f"{type(error).__name__}: {error}") from error


def _outer_layers(reader: GGUFReader) -> tuple[ReaderTensor, ReaderTensor]:
    """The embeddings and the output layer, often the same. Raises _Unsuited where this is not for such a file."""
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    embedding = tensors.get(_EMBEDDING)
    if embedding is None or "split.count" in reader.fields:
        raise _Unsuited("it is no whole model")
    output = tensors.get(_OUTPUT, embedding)
    for what, tensor in (("embeddings are", embedding), ("output layer is", output)):
        if tensor.tensor_type is not GGMLQuantizationType.Q8_0:
            raise _Unsuited(f"its {what} {tensor.tensor_type.name}, not Q8_0")
    return embedding, output


# --- in the child


def _main(gguf: Path, directory: Path) -> None:
    write(gguf, directory)
    with (
        closing(LlamaCppModel("whole", gguf, context_length=256, max_sequences=max(_SIZES))) as whole,
        closing(LlamaCppModel("split", gguf, context_length=256, max_sequences=max(_SIZES), split=directory)) as parts,
    ):
        _compare_logits(whole, parts)
        print(_compare_times(whole, parts))


def write(gguf: Path, directory: Path) -> None:
    """Write the parts of a file. Raises _Unsuited where its output layer is of another kind."""
    reader = _read(gguf)
    embedding, output = _outer_layers(reader)
    width, num_rows = map(int, embedding.shape)
    architecture = str(reader.fields["general.architecture"].contents())
    # The Gemma family's. Whether another has one the trial tells.
    scale = math.sqrt(width) if architecture.startswith("gemma") else 1.0
    EmbeddingLayout(int(embedding.data_offset), num_rows, width, scale).save(directory)
    _write_inner(reader, architecture, width, directory / INNER_FILE)
    _write_output(np.asarray(output.data), width, directory / OUTPUT_FILE)


def _write_inner(reader: GGUFReader, architecture: str, width: int, path: Path) -> None:
    writer = GGUFWriter(path, architecture)
    for field in reader.fields.values():
        if field.name.startswith(f"{architecture}.") and not field.name.endswith(".vocab_size"):
            kind, *rest = field.types
            writer.add_key_value(field.name, field.contents(), kind, sub_type=rest[-1] if rest else None)
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(width)
    writer.add_tensor(_EMBEDDING, np.zeros((width, width), np.float32))
    writer.add_tensor(_OUTPUT, np.eye(width, dtype=np.float32))
    for tensor in reader.tensors:
        if tensor.name not in (_EMBEDDING, _OUTPUT):
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_output(rows: np.ndarray[Any, np.dtype[np.uint8]], width: int, path: Path) -> None:
    """Q8_0 rows as onnxruntime packs them for this processor, in a file that is mapped when it is loaded.

    What is mapped lies in large pages where the system has them for files: a step takes a sixth less than with weights
    that are packed anew at each start.
    """
    import onnxruntime

    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        unpacked = Path(folder) / path.name
        _write_operator(rows, width, unpacked)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(path)
        for entry, value in {
            "optimized_model_external_initializers_file_name": f"{path.stem}.bin",
            "optimized_model_external_initializers_min_size_in_bytes": "1",
            "save_external_prepacked_constant_initializers": "1",
        }.items():
            options.add_session_config_entry(f"session.{entry}", value)
        onnxruntime.InferenceSession(str(unpacked), options, providers=["CPUExecutionProvider"])


def _write_operator(rows: np.ndarray[Any, np.dtype[np.uint8]], width: int, path: Path) -> None:
    """A model of one operator, its weights beside it."""
    import onnx
    from onnx import TensorProto, helper

    blocks = rows.view(Q8_0)
    scales = blocks["scale"].astype(np.float32)
    weights = blocks["weights"].view(np.uint8) ^ 0x80  # 128 for zero
    product = helper.make_node(
        "MatMulNBits",
        ["hidden", "weights", "scales"],
        ["logits"],
        domain="com.microsoft",
        K=width,
        N=len(rows),
        bits=8,
        block_size=BLOCK,
        accuracy_level=4,  # activations in 8 bits too, as llama.cpp has them
    )
    graph = helper.make_graph(
        [product],
        "output",
        [helper.make_tensor_value_info("hidden", TensorProto.FLOAT, ["n", width])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", len(rows)])],
        [
            helper.make_tensor("weights", TensorProto.UINT8, weights.shape, weights.tobytes(), raw=True),
            helper.make_tensor("scales", TensorProto.FLOAT, scales.shape, scales.tobytes(), raw=True),
        ],
    )
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=versions, ir_version=10)
    onnx.save_model(model, str(path), save_as_external_data=True, location=f"{path.stem}.bin")


def _compare_logits(whole: LlamaCppModel, parts: LlamaCppModel) -> None:
    """Raises _Unsuited where they are not the same."""
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
        raise _Unsuited(f"its parts give other logits, by {difference:.3f} of the largest")


def _compare_times(whole: LlamaCppModel, parts: LlamaCppModel) -> str:
    """What steps took and take. Raises _Unsuited where that is no less."""
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
        raise _Unsuited(f"its parts are no faster ({figures})")
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


class _Reader(GGUFReader):  # type: ignore[misc]
    """Steps over the lists of a vocabulary, which take ten seconds to be read and are not wanted."""

    def _get_field_parts(self, orig_offs: int, raw_type: int) -> tuple[int, list[Any], list[int], list[GGUFValueType]]:
        if raw_type == GGUFValueType.ARRAY:
            kind, length = struct.unpack_from("<IQ", self.data, orig_offs)
            if length > _MOST_ITEMS:
                start = orig_offs + struct.calcsize("<IQ")
                return self._end_of(start, GGUFValueType(kind), length) - orig_offs, [], [], [GGUFValueType.ARRAY]
        parts: Callable[[int, int], Any] = super()._get_field_parts
        found: tuple[int, list[Any], list[int], list[GGUFValueType]] = parts(orig_offs, raw_type)
        return found

    def _end_of(self, start: int, kind: GGUFValueType, length: int) -> int:
        if kind is not GGUFValueType.STRING:
            return start + length * int(np.dtype(self.gguf_scalar_to_np[kind]).itemsize)
        data = memoryview(self.data)
        for _ in range(length):
            if start >= len(data):
                raise ValueError("a list goes on behind the end of the file")
            start += 8 + int.from_bytes(data[start : start + 8], "little")
        return start


if __name__ == "__main__":
    try:
        _main(Path(sys.argv[1]), Path(sys.argv[2]))
    except _Unsuited as reason:
        sys.exit(str(reason))
