"""Reads GGUF files for engines other than llama.cpp: fast, and robust to damaged files."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader, GGUFValueType

_MOST_ITEMS = 1024  # longer lists belong to a vocabulary and are skipped


class Unsuited(Exception):  # noqa: N818 (not an error: llama.cpp computes the file)
    """The file is better left to llama.cpp."""


def read_gguf(path: Path) -> GGUFReader:
    """A file's fields without its vocabulary, and its mapped tensors. Raises Unsuited if it is not a whole model."""
    try:
        reader = _Reader(path)
    except Exception as error:  # the file is damaged; its loader will report that
        raise Unsuited(f"{type(error).__name__}: {error}") from error
    if "split.count" in reader.fields:
        raise Unsuited("it is a part of a model")
    return reader


class _Reader(GGUFReader):  # type: ignore[misc]
    """Skips the lists of a vocabulary, which take ten seconds to read and are not needed."""

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
                raise ValueError("a list goes on past the end of the file")
            start += 8 + int.from_bytes(data[start : start + 8], "little")
        return start
