"""Where the tokens of one member end in an answer."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field


@dataclass(slots=True, eq=False)
class Boundary:
    """A place where one of the member's own tokens ends.

    Args:
        parent: the boundary before; None for the end of the prompt.

    Attributes:
        ids: the member's ids between the two.
        end: bytes of the answer before it.
        path: all ids since the end of the prompt.
    """

    parent: InitVar[Boundary | None]
    ids: tuple[int, ...]
    end: int
    path: tuple[int, ...] = field(init=False)

    def __post_init__(self, parent: Boundary | None) -> None:
        self.path = (*parent.path, *self.ids) if parent else self.ids

    @property
    def num_ids(self) -> int:
        """Since the end of the prompt."""
        return len(self.path)
