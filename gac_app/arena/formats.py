"""What votes can be written as."""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    """What can be written."""

    JSONL = "jsonl"  # everything, to be imported again
    TRL_PREFERENCE = "trl-preference"
    TRL_UNPAIRED = "trl-unpaired"
    LMSYS = "lmsys"
    ARENA_RANK = "arena-rank"
    PARQUET = "parquet"
    CSV = "csv"

    @property
    def suffix(self) -> str:
        """Of a file."""
        return {Format.CSV: "csv", Format.PARQUET: "parquet", Format.LMSYS: "json"}.get(self, "jsonl")
