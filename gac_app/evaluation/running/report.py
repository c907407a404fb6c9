"""The results of an evaluation: each system's accuracy, with its interval, and its cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gac_app.evaluation.metrics import Comparison, compare, wilson_interval
from gac_app.evaluation.running.result_cache import Graded
from gac_app.evaluation.running.systems import System


@dataclass(frozen=True, slots=True)
class SystemReport:
    """One system over all questions. Questions without an answer count as wrong; `num_failed` counts them.

    Attributes:
        share_ensembled: of the steps decoded or scored.
        ms_per_token: in generation, of the steps after the first; in choice, of the positions scored. None if unknown.
        seconds_per_answer, member_seconds_per_answer: by the clock, and of all members' forward passes. A shared
        forward pass counts for each answer, so measure one answer at a time for publication.
    """

    system: System
    num_questions: int
    num_right: int
    num_failed: int
    first_error: str
    share_ensembled: float
    ms_per_token: float | None
    seconds_per_answer: float
    member_seconds_per_answer: float | None
    vs_best_member: Comparison | None
    vs: Mapping[str, Comparison | None]  # comparisons with other systems

    @property
    def accuracy(self) -> float:
        return self.num_right / self.num_questions

    @property
    def interval(self) -> tuple[float, float]:
        return wilson_interval(self.num_right, self.num_questions)

    def to_json(self) -> dict[str, Any]:
        return {
            "accuracy": self.accuracy,
            "ci": list(self.interval),
            "errors": self.num_failed,
            "share_ensembled": self.share_ensembled,
            "ms_per_token": self.ms_per_token,
            "seconds_per_answer": self.seconds_per_answer,
            "member_seconds_per_answer": self.member_seconds_per_answer,
            "vs_best_member": asdict(self.vs_best_member) if self.vs_best_member else None,
            **{f"vs_{name}": compared and asdict(compared) for name, compared in self.vs.items()},
        }


def share_ensembled(answers: Sequence[Graded]) -> float:
    """Of the steps of all answers together."""
    return sum(answer.num_ensembled for answer in answers) / max(sum(answer.num_tokens for answer in answers), 1)


def summarise(answers: Mapping[System, Sequence[Graded]], against: Sequence[System] = ()) -> list[SystemReport]:
    """A report per system, in the given order. A system is not compared with itself.

    Args:
        answers: of all systems to the same questions, at least one, in the same order.
        against: names of systems to compare each with, beside the best member.
    """
    right = {system: [answer.is_right for answer in given] for system, given in answers.items()}
    members = [system for system in answers if system.alone is not None]
    best = max(members, key=lambda system: sum(right[system]), default=None)

    def against_other(system: System, other: System | None) -> Comparison | None:
        return compare(right[system], right[other]) if other and other != system else None

    return [
        _report(
            system,
            given,
            vs_best_member=against_other(system, best),
            vs={other.name: against_other(system, other) for other in against},
        )
        for system, given in answers.items()
    ]


def _report(
    system: System, answers: Sequence[Graded], vs_best_member: Comparison | None, vs: Mapping[str, Comparison | None]
) -> SystemReport:
    given = [answer for answer in answers if not answer.error]
    errors = [answer.error for answer in answers if answer.error]
    member_seconds = sum(answer.member_seconds for answer in given)
    return SystemReport(
        system=system,
        num_questions=len(answers),
        num_right=sum(answer.is_right for answer in given),
        num_failed=len(errors),
        first_error=errors[0] if errors else "",
        share_ensembled=share_ensembled(given),
        ms_per_token=_ms_per_token(given),
        seconds_per_answer=sum(answer.seconds for answer in given) / max(len(given), 1),
        member_seconds_per_answer=member_seconds / len(given) if member_seconds else None,
        vs_best_member=vs_best_member,
        vs=vs,
    )


def _ms_per_token(answers: Sequence[Graded]) -> float | None:
    num_later = sum(answer.num_tokens - (answer.ttft_s > 0) for answer in answers)
    seconds = sum(answer.seconds - answer.ttft_s for answer in answers)
    return 1000 * seconds / num_later if num_later > 0 else None
