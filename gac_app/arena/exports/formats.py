"""The formats of vote exports."""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    """A format."""

    JSONL = "jsonl"  # everything; can be imported
    TRL_PREFERENCE = "trl-preference"
    TRL_UNPAIRED = "trl-unpaired"
    LMSYS = "lmsys"
    ARENA_RANK = "arena-rank"
    PARQUET = "parquet"
    CSV = "csv"

    @property
    def suffix(self) -> str:
        """The file name's suffix."""
        return {Format.CSV: "csv", Format.PARQUET: "parquet", Format.LMSYS: "json"}.get(self, "jsonl")
