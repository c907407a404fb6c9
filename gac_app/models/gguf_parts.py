"""The parts of a GGUF file, for `outer_layers`: what llama.cpp is given, and what onnxruntime is.

llama.cpp's is a model without a vocabulary: embeddings go in, and its output layer is the identity, so that what it
takes for logits are hidden states.
"""

from __future__ import annotations

import math
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter
from gguf.gguf_reader import ReaderTensor

from gac_app.models.outer_layers import BLOCK, INNER_FILE, OUTPUT_FILE, Q8_0, EmbeddingLayout

_EMBEDDING, _OUTPUT = "token_embd.weight", "output.weight"  # where there is no output layer, it is the embeddings
_MOST_ITEMS = 1024  # of a list that is read: more are a vocabulary's


class Unsuited(Exception):  # noqa: N818 (no error: the file stays whole)
    """The file is better left whole."""


def write(gguf: Path, directory: Path) -> None:
    """Write the parts of a file. Raises Unsuited where its output layer is of another kind."""
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


def output_bytes(gguf: Path) -> int:
    """The size of its output layer. Raises Unsuited where that is of another kind."""
    _, output = _outer_layers(_read(gguf))
    return int(output.n_bytes)


def _read(gguf: Path) -> GGUFReader:
    try:
        return _Reader(gguf)
    except Exception as error:  # a damaged file's: whoever loads it will tell
        raise Unsuited(f"{type(error).__name__}: {error}") from error


def _outer_layers(reader: GGUFReader) -> tuple[ReaderTensor, ReaderTensor]:
    """The embeddings and the output layer, often the same. Raises Unsuited where this is not for such a file."""
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    embedding = tensors.get(_EMBEDDING)
    if embedding is None or "split.count" in reader.fields:
        raise Unsuited("it is no whole model")
    output = tensors.get(_OUTPUT, embedding)
    for what, tensor in (("embeddings are", embedding), ("output layer is", output)):
        if tensor.tensor_type is not GGMLQuantizationType.Q8_0:
            raise Unsuited(f"its {what} {tensor.tensor_type.name}, not Q8_0")
    return embedding, output


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
