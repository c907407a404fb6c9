"""The first and the last layer of a GGUF model, computed outside of llama.cpp, which computes those between.

The output layer of a small model with a large vocabulary is most of it, and llama.cpp's kernels for a few rows of it
are poor (Gemma 3 270M on a Zen 4: two rows take 3.4 times one). onnxruntime's operator MatMulNBits does the same
arithmetic, weights and activations in 8 bits with a scale for each 32, and takes 1.1 times one.

Shape suffixes: `N` ids, `E` the width of a hidden state, `V` the vocabulary.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gac_app.errors import ModelLoadError

INNER_FILE, OUTPUT_FILE, _LAYOUT_FILE = "inner.gguf", "output.onnx", "layout.json"

BLOCK = 32
Q8_0 = np.dtype([("scale", "<f2"), ("weights", "i1", BLOCK)])  # ggml's: one scale for so many weights

FloatArray = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, slots=True)
class EmbeddingLayout:
    """Where a GGUF file has its embeddings.

    Attributes:
        offset: bytes before the first row.
        num_rows: ids.
        width: numbers in a row.
        scale: what llama.cpp multiplies embeddings with before the first layer; it does not where it is given them.
    """

    offset: int
    num_rows: int
    width: int
    scale: float

    def save(self, directory: Path) -> None:
        (directory / _LAYOUT_FILE).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> EmbeddingLayout:
        return cls(**json.loads((directory / _LAYOUT_FILE).read_text(encoding="utf-8")))


class OuterLayers:
    """Embeddings read from the GGUF file itself, and the output layer as onnxruntime has packed it.

    Args:
        gguf: the whole file.
        directory: what it was split into (see `gguf_split`).
        num_threads: of one forward pass.

    Attributes:
        inner_path: what llama.cpp computes, as a GGUF file.
        width: numbers in a hidden state.

    Raises:
        ModelLoadError: where the parts cannot be read.
    """

    def __init__(self, gguf: Path, directory: Path, num_threads: int) -> None:
        self.inner_path = directory / INNER_FILE
        try:
            layout = EmbeddingLayout.load(directory)
            shape = layout.num_rows, layout.width // BLOCK
            blocks = np.memmap(gguf, Q8_0, mode="r", offset=layout.offset, shape=shape)
            self._output = _session(directory / OUTPUT_FILE, num_threads)
        except Exception as error:  # a damaged file's, of several libraries
            raise ModelLoadError(f"{gguf.name}: its parts cannot be read; remove {directory}: {error}") from error
        self._blocks = blocks.view(np.ndarray)  # indexed in a third of a memmap's time
        self.width = layout.width
        self._scale = np.float32(layout.scale)

    def embed(self, ids: list[int]) -> FloatArray:
        """What the first layer between is given, `[N, E]`."""
        blocks = self._blocks[ids]
        embeddings_NE: FloatArray = blocks["weights"] * blocks["scale"].astype(np.float32)[..., None]
        return embeddings_NE.reshape(len(ids), self.width) * self._scale

    def logits(self, hidden_NE: FloatArray) -> FloatArray:
        """Of what the last layer between gives, normalised: `[N, V]`, its own memory. NaN where a number is none."""
        logits_NV: FloatArray = self._output.run(None, {"hidden": hidden_NE})[0]
        is_lost_N = ~np.isfinite(hidden_NE.sum(axis=1))  # rounded to 8 bits, NaN would be a number
        if is_lost_N.any():
            logits_NV[is_lost_N] = np.nan
        return logits_NV


def _session(path: Path, num_threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    # A thread that waits in a loop takes the core of whoever works.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False  # it would keep the largest pass's logits for good
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
