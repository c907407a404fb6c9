"""The results of an evaluation: each system's accuracy, with its interval, and its cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gac_app.evaluation.metrics import Comparison, compare, wilson_interval
from gac_app.evaluation.running.result_cache import Graded
from gac_app.evaluation.running.systems import System


@dataclass(frozen=True, slots=True)
class SystemReport:
    """One system's answers, at least one. Failed ones count as wrong, and have no part in the costs.

    Attributes:
        vs: comparisons with other systems, by name; a system is not compared with itself.
    """

    system: System
    answers: Sequence[Graded]
    vs_best_member: Comparison | None = None
    vs: Mapping[str, Comparison | None] = field(default_factory=dict)

    @property
    def is_right(self) -> list[bool]:
        """By question."""
        return [answer.is_right for answer in self.answers]

    @property
    def errors(self) -> list[str]:
        """Why answers failed."""
        return [answer.error for answer in self.answers if answer.error]

    @property
    def num_right(self) -> int:
        return sum(self.is_right)

    @property
    def accuracy(self) -> float:
        return self.num_right / len(self.answers)

    @property
    def interval(self) -> tuple[float, float]:
        return wilson_interval(self.num_right, len(self.answers))

    @property
    def share_ensembled(self) -> float:
        """Of the steps decoded or scored."""
        return sum(one.num_ensembled for one in self._given) / max(sum(one.num_tokens for one in self._given), 1)

    @property
    def ms_per_token(self) -> float | None:
        """In generation, of the steps after the first; in choice, of the positions scored. None if unknown."""
        num_later = sum(answer.num_tokens - (answer.ttft_s > 0) for answer in self._given)
        seconds = sum(answer.seconds - answer.ttft_s for answer in self._given)
        return 1000 * seconds / num_later if num_later > 0 else None

    @property
    def seconds_per_answer(self) -> float:
        """By the clock."""
        return sum(answer.seconds for answer in self._given) / max(len(self._given), 1)

    @property
    def member_seconds_per_answer(self) -> float | None:
        """Of all members' forward passes. One that several answers share counts for each of them, so measure one answer
        at a time for publication.
        """
        seconds = sum(answer.member_seconds for answer in self._given)
        return seconds / len(self._given) if seconds else None

    @property
    def _given(self) -> list[Graded]:
        return [answer for answer in self.answers if not answer.error]

    def compared(self, other: SystemReport | None) -> Comparison | None:
        """None with itself, or with nobody."""
        return compare(self.is_right, other.is_right) if other and other.system != self.system else None

    def to_json(self) -> dict[str, Any]:
        against = {"vs_best_member": self.vs_best_member, **{f"vs_{name}": found for name, found in self.vs.items()}}
        costs = ("share_ensembled", "ms_per_token", "seconds_per_answer", "member_seconds_per_answer")
        return {
            "accuracy": self.accuracy,
            "ci": list(self.interval),
            "errors": len(self.errors),
            **{name: getattr(self, name) for name in costs},
            **{name: found and found.to_json() for name, found in against.items()},
        }


def summarise(answers: Mapping[System, Sequence[Graded]], against: Sequence[System] = ()) -> dict[System, SystemReport]:
    """A report on each system.

    Args:
        answers: of all systems to the same questions, at least one, in the same order.
        against: systems to compare each with, beside the best member.
    """
    reports = {system: SystemReport(system, given) for system, given in answers.items()}
    members = [report for report in reports.values() if report.system.alone is not None]
    best = max(members, key=lambda report: report.num_right, default=None)
    return {
        system: replace(
            report,
            vs_best_member=report.compared(best),
            vs={other.name: report.compared(reports[other]) for other in against},
        )
        for system, report in reports.items()
    }
