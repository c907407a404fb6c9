"""Facts of a GGUF file that are stored beside its graph, for running it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

GRAPH_FILE, WEIGHTS_FILE, _LAYOUT_FILE = "layers.onnx", "layers.bin", "layout.json"


@dataclass(frozen=True, slots=True)
class Layout:
    """What `OnnxLayers` needs to know.

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
