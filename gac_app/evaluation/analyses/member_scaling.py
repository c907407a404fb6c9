"""The gain of more members: accuracy by number of members, over every choice of members, with equal weights at every
step.

The paper ensembles two and three models and leaves open how gains scale. Each choice is compared with the best of its
own members, so the comparison shows the gain of ensembling, not of a better model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from statistics import mean
from typing import Any

from gac_app.config import Config
from gac_app.errors import RequestError
from gac_app.evaluation.analyses.weight_search import rounded, suffix_of, system_at
from gac_app.evaluation.metrics import Comparison, compare
from gac_app.evaluation.running import Answer, System, SystemReport, summarise

MAX_MEMBERS = 6  # 63 choices

Choice = tuple[str, ...]  # member names, in the configuration's order


@dataclass(frozen=True, slots=True)
class ChoiceReport:
    """One choice of members; `vs_best_own` is None for a single member."""

    members: Choice
    report: SystemReport
    vs_best_own: Comparison | None


@dataclass(frozen=True, slots=True)
class ScalingReport:
    """All choices, fewest members first."""

    task: str
    choices: tuple[ChoiceReport, ...]

    def accuracies(self, num_members: int) -> list[float]:
        """The accuracies of all choices of this many members."""
        return [choice.report.accuracy for choice in self.choices if len(choice.members) == num_members]

    @property
    def sizes(self) -> list[int]:
        return sorted({len(choice.members) for choice in self.choices})

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        by_size = {str(n): self.accuracies(n) for n in self.sizes}
        return {
            "task": self.task,
            "n": self.choices[0].report.num_questions,
            "by_number": {
                n: {"mean": mean(found), "best": max(found), "worst": min(found)} for n, found in by_size.items()
            },
            "choices": [
                {
                    "members": list(choice.members),
                    "system": choice.report.system.name,
                    **choice.report.to_json(),
                    "vs_best_own": asdict(choice.vs_best_own) if choice.vs_best_own else None,
                }
                for choice in self.choices
            ],
        }


def plan_scaling(config: Config, options: str = "") -> dict[Choice, System]:
    """The system of every choice of members, fewest members first.

    Args:
        options: as in a system's name, but no weights: `paper`; "" = the configuration's.

    Raises:
        RequestError: there are too few members to choose from, or too many choices.
    """
    names = config.member_names
    if not 2 <= len(names) <= MAX_MEMBERS:
        raise RequestError("members", f"needs 2 to {MAX_MEMBERS} members to choose from; there are {len(names)}")
    chosen = [choice for count in range(1, len(names) + 1) for choice in combinations(names, count)]
    points = {choice: rounded(tuple((name in choice) / len(choice) for name in names)) for choice in chosen}
    return {choice: system_at(point, config, suffix_of(options, config)) for choice, point in points.items()}


def judge_scaling(
    task: str, plan: Mapping[Choice, System], answers: Mapping[System, Sequence[Answer]]
) -> ScalingReport:
    """Evaluate the answers of the plan's systems, all to the same questions."""
    reports = dict(zip(answers, summarise(answers), strict=True))
    right = {system: [answer.is_right for answer in given] for system, given in answers.items()}

    def best_own(choice: Choice) -> System:
        return max((plan[(name,)] for name in choice), key=lambda system: sum(right[system]))

    return ScalingReport(
        task,
        tuple(
            ChoiceReport(
                choice,
                reports[system],
                compare(right[system], right[best_own(choice)]) if len(choice) > 1 else None,
            )
            for choice, system in plan.items()
        ),
    )
