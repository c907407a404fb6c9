"""Where the tokens of one member end in an answer, as a chain."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Boundary:
    """A place where one of the member's own tokens ends.

    Attributes:
        parent: the boundary before; None for the end of the prompt.
        ids: the member's ids between the two.
        end: bytes of the answer before it.
    """

    parent: Boundary | None
    ids: tuple[int, ...]
    end: int
    depth: int = field(init=False)
    num_ids: int = field(init=False)  # since the end of the prompt

    def __post_init__(self) -> None:
        self.depth = self.parent.depth + 1 if self.parent else 0
        self.num_ids = len(self.ids) + (self.parent.num_ids if self.parent else 0)
