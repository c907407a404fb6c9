"""A graph's inputs beside its weights: embeddings, and memory for caches."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path
from typing import Any

import numpy as np

from gac_app.models.onnx.layout import Layout


class EmbeddingRows:
    """The file's embeddings. They are read, not mapped: if the file is truncated, an answer fails and not the
    process.
    """

    def __init__(self, gguf: Path, layout: Layout) -> None:
        self._file = gguf.open("rb", buffering=0)
        self._offset, self._row_bytes = layout.offset, layout.row_bytes
        if gguf.stat().st_size < layout.offset + layout.num_rows * layout.row_bytes:
            raise ValueError(f"{gguf.name} is shorter than it was")

    def read(self, ids: list[int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Rows by id, `[N, bytes]`. Raises OSError if the file was truncated."""
        rows = np.empty((len(ids), self._row_bytes), np.uint8)
        for row, token_id in zip(rows, ids, strict=True):
            self._file.seek(self._offset + token_id * self._row_bytes)
            if self._file.readinto(row.data) != self._row_bytes:
                raise OSError("the model's file has been cut short; restart with the whole file")
        return rows

    def close(self) -> None:
        self._file.close()


def zeros(num_bytes: int) -> mmap.mmap:
    """Zeros that take memory when they are written to, in small pages. NumPy's own use pages of two megabytes."""
    if sys.platform == "win32":
        return mmap.mmap(-1, num_bytes)
    memory = mmap.mmap(-1, num_bytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if sys.platform == "linux":
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return memory


def give_back(memory: mmap.mmap, start: int, num_bytes: int) -> None:
    """Release the whole pages of a part, if the system can; they become zeros."""
    first, end = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE, (start + num_bytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if hasattr(mmap, "MADV_DONTNEED") and first < end:
        memory.madvise(mmap.MADV_DONTNEED, first, end - first)
