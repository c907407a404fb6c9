"""What is kept of a GGUF file beside its graph, for whoever runs that."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

GRAPH_FILE, WEIGHTS_FILE, _LAYOUT_FILE = "layers.onnx", "layers.bin", "layout.json"


@dataclass(frozen=True, slots=True)
class Layout:
    """What runs the graph needs to know.

    Attributes:
        num_layers, num_heads, head_width: of the caches; heads are those for keys and values.
        context_length: what the model was trained for.
        bases: of rotary embeddings, as many as the graph takes tables of.
        num_rows, row_bytes, offset, kind: where the file has its embeddings, and how they are quantised.
        scale: of embeddings.
        near_layers: those that see a window, so many ids with their own.
        is_batch_invariant, is_chunk_invariant: as a model's (see `Model`), measured on this machine.
    """

    num_layers: int
    num_heads: int
    head_width: int
    context_length: int
    bases: tuple[float, ...]
    num_rows: int
    row_bytes: int
    offset: int
    kind: int
    scale: float
    near_layers: tuple[int, ...]
    window: int
    is_batch_invariant: bool = False
    is_chunk_invariant: bool = False

    def save(self, directory: Path) -> None:
        (directory / _LAYOUT_FILE).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> Layout:
        found = json.loads((directory / _LAYOUT_FILE).read_text(encoding="utf-8"))
        return cls(**{**found, "bases": tuple(found["bases"]), "near_layers": tuple(found["near_layers"])})
