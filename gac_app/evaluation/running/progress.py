"""How far a study is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StudyProgress:
    """A run's progress. `num_kept` of the `num_done` are from earlier runs. `unit`: what is counted."""

    num_done: int
    num_total: int
    num_kept: int
    seconds: float
    num_failed: int = 0
    unit: str = "answers"

    @property
    def seconds_left(self) -> float | None:
        """Estimated; None until it can be."""
        num_new = self.num_done - self.num_kept
        return self.seconds / num_new * (self.num_total - self.num_done) if num_new else None
