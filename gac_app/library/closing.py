"""What a `with` statement closes."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self


class Closing:
    """The block's end calls `close`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> object:
        """Free what is held."""
