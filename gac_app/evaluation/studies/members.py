"""The gain of more members: accuracy by number of members, over every choice of them, with equal weights at every step.

The paper ensembles two and three models and leaves open how gains scale. Each choice is compared with the best of its
own members, so the comparison shows the gain of ensembling, not of a better model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from statistics import mean
from typing import Any

from gac_app.charts import Panel, Series, Spec, line_charts
from gac_app.config import Config
from gac_app.errors import RequestError
from gac_app.evaluation.metrics import Comparison, compare
from gac_app.evaluation.running import Graded, System, SystemReport, rounded, suffix_of, summarise, system_at
from gac_app.evaluation.studies.evaluator import Evaluator
from gac_app.evaluation.studies.result import StudyResult, Table, accuracy, compared, failure, figure
from gac_app.evaluation.studies.study import QuestionStudy
from gac_app.evaluation.studies.thresholds import OPTIONS
from gac_app.evaluation.tasks import Question, Task

MAX_MEMBERS = 6  # 63 choices
_COLUMNS = ("members", "number", "accuracy (95 %)", "member-s", "vs its best member")

Choice = tuple[str, ...]  # member names, in the configuration's order


@dataclass(frozen=True, slots=True)
class ChoiceReport:
    """One choice of members; `vs_best_own` is None for a single member."""

    members: Choice
    report: SystemReport
    vs_best_own: Comparison | None


class Members(QuestionStudy):
    """Members instead of thresholds: every choice of members, by number."""

    name = "members"
    title = "Members"
    about = "What more members gain: every choice of them."
    place = 4
    flag_of = "sweep"
    options: str = OPTIONS

    def check(self, config: Config, task: Task, questions: Sequence[Question], asked: Sequence[Question]) -> None:
        plan_scaling(config, self.options)

    def run(self, ask: Evaluator, asked: Sequence[Question]) -> StudyResult:
        """Put the questions to every choice of members. Raises RequestError if there are too few or too many."""
        plan, task = plan_scaling(ask.ensemble.config, self.options), ask.task.name
        choices = judge_scaling(plan, ask(list(plan.values()), asked))
        found = accuracies(choices)
        means = ", ".join(f"{n}: {mean(values):.1%}" for n, values in found.items())
        return StudyResult(
            study=self.name,
            heading=f"{task}: {len(asked)} questions",
            tables=[Table(_COLUMNS, list(map(_row, choices)))],
            data=to_json(task, choices),
            remarks=[f"Mean accuracy by the number of members: {means}."],
            plots=_plots(found, f"More members on {task}, {len(asked)} questions"),
            failure=failure(choice.report for choice in choices),
        )


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


def judge_scaling(plan: Mapping[Choice, System], answers: Mapping[System, Sequence[Graded]]) -> list[ChoiceReport]:
    """Evaluate the answers of the plan's systems, all to the same questions."""
    reports = dict(zip(answers, summarise(answers), strict=True))
    right = {system: [answer.is_right for answer in given] for system, given in answers.items()}

    def vs_best_own(choice: Choice, system: System) -> Comparison | None:
        best = max((plan[(name,)] for name in choice), key=lambda own: sum(right[own]))
        return compare(right[system], right[best]) if len(choice) > 1 else None

    return [ChoiceReport(choice, reports[system], vs_best_own(choice, system)) for choice, system in plan.items()]


def accuracies(choices: Sequence[ChoiceReport]) -> dict[int, list[float]]:
    """Those of all choices, by the number of members."""
    found: dict[int, list[float]] = {}
    for choice in choices:
        found.setdefault(len(choice.members), []).append(choice.report.accuracy)
    return found


def to_json(task: str, choices: Sequence[ChoiceReport]) -> dict[str, Any]:
    """Plain values."""
    return {
        "task": task,
        "n": choices[0].report.num_questions,
        "by_number": {
            str(n): {"mean": mean(found), "best": max(found), "worst": min(found)}
            for n, found in accuracies(choices).items()
        },
        "choices": [
            {
                "members": list(choice.members),
                "system": choice.report.system.name,
                **choice.report.to_json(),
                "vs_best_own": asdict(choice.vs_best_own) if choice.vs_best_own else None,
            }
            for choice in choices
        ],
    }


def _row(choice: ChoiceReport) -> list[str]:
    return [
        " + ".join(choice.members),
        str(len(choice.members)),
        accuracy(choice.report),
        figure(choice.report.member_seconds_per_answer, 2),
        compared(choice.vs_best_own),
    ]


def _plots(found: Mapping[int, Sequence[float]], title: str) -> list[Spec]:
    series = {
        name: Series([(float(n), 100 * of(values)) for n, values in found.items()])
        for name, of in (("best choice", max), ("mean of all choices", mean), ("worst choice", min))
    }
    return line_charts(title, [Panel("members", "accuracy, %", series)])
