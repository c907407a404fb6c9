"""The architecture of a GGUF file, for the architectures that a graph can express, and what is kept of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader
from pydantic import TypeAdapter

from gac_app.models.gguf import Blocks, Unsuited, blocks_of, read_gguf

GRAPH_FILE, WEIGHTS_FILE, _LAYOUT_FILE = "layers.onnx", "layers.bin", "layout.json"
_LOCAL_ROPE_THETA = 10_000.0  # rotary base of Gemma 3's sliding-window layers
_HEAD_STEP = 16  # onnxruntime's attention rotates heads whose width is a multiple of this
_KNOWN_FIELDS = {
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "vocab_size",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "rope.dimension_count",
    "rope.freq_base",
}


@dataclass(frozen=True, slots=True)
class _Family:
    """Facts of an architecture that its files do not tell.

    Attributes:
        activation: an onnxruntime operator with its attributes.
        interleaved: rotary embeddings rotate neighbours; otherwise the first half of a head against the second.
        scales_embeddings: embeddings are scaled by the square root of their width.
        global_every: every n-th layer sees all ids, the others a window; 1 = all see all.
    """

    activation: tuple[str, dict[str, float]] = ("QuickGelu", {"alpha": 1.0})  # x * sigmoid(x)
    interleaved: bool = False
    scales_embeddings: bool = False
    global_every: int = 1


_FAMILIES = {
    "llama": _Family(interleaved=True),
    "qwen2": _Family(),
    "qwen3": _Family(),
    "gemma3": _Family(activation=("FastGelu", {}), scales_embeddings=True, global_every=6),
}


@dataclass(frozen=True, slots=True)
class Layout:
    """Facts of a file that are kept beside its graph, for running it.

    Attributes:
        num_layers, num_heads, head_width: of the caches, so heads are those for keys and values.
        context_length: the model's training length.
        rope_theta: bases of rotary embeddings; one table each.
        num_rows, row_bytes, offset, kind: place and quantisation of the embeddings in the file.
        scale: of embeddings.
        sliding_layers, window: sliding-window layers, and how many ids each sees, the current one included.
        is_batch_invariant, is_chunk_invariant: see `Model`; measured on this machine.
    """

    num_layers: int
    num_heads: int
    head_width: int
    context_length: int
    rope_theta: tuple[float, ...]
    num_rows: int
    row_bytes: int
    offset: int
    kind: int
    scale: float
    sliding_layers: tuple[int, ...]
    window: int
    is_batch_invariant: bool = False
    is_chunk_invariant: bool = False

    def save(self, directory: Path) -> None:
        (directory / _LAYOUT_FILE).write_bytes(TypeAdapter(Layout).dump_json(self))

    @classmethod
    def load(cls, directory: Path) -> Layout:
        return TypeAdapter(Layout).validate_json((directory / _LAYOUT_FILE).read_bytes())


def architecture_of(gguf: Path) -> Architecture:
    """The architecture of a file. Raises Unsuited if no graph can be made of it."""
    try:
        return Architecture(read_gguf(gguf))
    except Unsuited:
        raise
    except Exception as error:  # a header may contain anything, and a file may be cut short
        raise Unsuited(f"{type(error).__name__}: {error}") from error


class Architecture:
    """A file's fields and tensors. Raises Unsuited if the file has more than a graph can express.

    Attributes:
        family: facts that the file does not tell.
        num_queries: heads for queries.
        width: of a hidden state.
        epsilon: for normalisation.
        output_name: the tensor of the output layer, which may be the embeddings.
        num_tokens: size of the logits.
        layout: what is needed to run the graph.
    """

    def __init__(self, reader: GGUFReader) -> None:
        self._fields = reader.fields
        self._tensors = {tensor.name: tensor for tensor in reader.tensors}
        self._name = str(self._fields["general.architecture"].contents())
        if self._name not in _FAMILIES:
            raise Unsuited(f"its architecture is {self._name}")
        self.family = _FAMILIES[self._name]
        known = _KNOWN_FIELDS | ({"attention.sliding_window"} if self.family.global_every > 1 else set())
        prefix = f"{self._name}."
        own = {name.removeprefix(prefix) for name in self._fields if name.startswith(prefix)}
        if unknown := own - known:
            raise Unsuited(f"it has a field {min(unknown)}")
        self.num_queries = int(self._of("attention.head_count"))
        self.width = int(self._of("embedding_length"))
        head_width = int(self._of("attention.key_length", self.width // self.num_queries))
        turned, of_values = self._of("rope.dimension_count"), self._of("attention.value_length")
        if {turned, of_values} - {None, head_width}:
            raise Unsuited("its heads are of several widths")
        if head_width % _HEAD_STEP:
            raise Unsuited(f"its heads are {head_width} wide, no multiple of {_HEAD_STEP}")
        self.epsilon = float(self._of("attention.layer_norm_rms_epsilon"))
        self.output_name = "output.weight" if "output.weight" in self._tensors else "token_embd.weight"
        num_layers = int(self._of("block_count"))
        self._check_tensors(num_layers)
        self.num_tokens = int(self._tensors[self.output_name].shape[-1])
        self.layout = self._laid_out(num_layers, head_width)

    def _laid_out(self, num_layers: int, head_width: int) -> Layout:
        embeddings, family = self._tensors["token_embd.weight"], self.family
        num_rows, row_bytes = embeddings.data.reshape(int(embeddings.shape[-1]), -1).view(np.uint8).shape
        sliding_layers = tuple(layer for layer in range(num_layers) if (layer + 1) % family.global_every)
        theta = float(self._of("rope.freq_base", 10_000.0))
        return Layout(
            num_layers=num_layers,
            num_heads=int(self._of("attention.head_count_kv", self.num_queries)),
            head_width=head_width,
            context_length=int(self._of("context_length")),
            rope_theta=(theta, _LOCAL_ROPE_THETA) if sliding_layers else (theta,),
            num_rows=num_rows,
            row_bytes=row_bytes,
            offset=int(embeddings.data_offset),
            kind=embeddings.tensor_type.value,
            scale=math.sqrt(self.width) if family.scales_embeddings else 1.0,
            sliding_layers=sliding_layers,
            window=int(self._of("attention.sliding_window", 0)),
        )

    def _of(self, name: str, default: Any = None) -> Any:
        """A field of the architecture."""
        found = self._fields.get(f"{self._name}.{name}")
        return default if found is None else found.contents()

    def _check_tensors(self, num_layers: int) -> None:
        matrices = {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"}
        needed = {f"{name}.weight" for name in matrices | {"attn_norm", "ffn_norm"}}
        optional = {f"{name}.bias" for name in ("attn_q", "attn_k", "attn_v")}
        norms = ("attn_q_norm", "attn_k_norm", "post_attention_norm", "post_ffw_norm")
        optional |= {f"{name}.weight" for name in norms}
        names = {f"blk.{i}.{name}" for i in range(num_layers) for name in needed}
        names |= {"token_embd.weight", "output_norm.weight"}
        allowed = {f"blk.{i}.{name}" for i in range(num_layers) for name in optional} | {"output.weight"}
        if wrong := (names - self._tensors.keys()) | (self._tensors.keys() - names - allowed):
            raise Unsuited(f"it lacks, or has beside the known ones, {min(wrong)}")
        for name, tensor in self._tensors.items():
            if any(f".{matrix}.weight" in name for matrix in matrices) or name == self.output_name:
                blocks_of(np.asarray(tensor.data[:1]), tensor.tensor_type)  # raises Unsuited if it cannot be read
            elif name != "token_embd.weight" and tensor.tensor_type is not GGMLQuantizationType.F32:
                raise Unsuited(f"its {name} is in {tensor.tensor_type.name}")

    def has(self, name: str) -> bool:
        """Whether layers have such a tensor."""
        return f"blk.0.{name}" in self._tensors

    def floats(self, name: str) -> np.ndarray[Any, Any]:
        """An unquantised tensor."""
        return np.asarray(self._tensors[name].data, np.float32)

    def blocks(self, name: str) -> Blocks:
        """A matrix."""
        return blocks_of(np.asarray(self._tensors[name].data), self._tensors[name].tensor_type)
