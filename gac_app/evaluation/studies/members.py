"""The gain of more members: accuracy by number of members, over every choice of them, with equal weights at every step.

The paper ensembles two and three models and leaves open how gains scale. Each choice is compared with the best of its
own members, so the comparison shows the gain of ensembling, not of a better model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import mean
from typing import Any

from gac_app.charts import Panel, Series, Spec, line_charts
from gac_app.config import Config
from gac_app.errors import Phrase, RequestError, joined
from gac_app.evaluation.metrics import Comparison
from gac_app.evaluation.running import Graded, System, SystemReport, summarise
from gac_app.evaluation.studies.evaluator import Evaluator
from gac_app.evaluation.studies.result import StudyResult, compared, failure, figure, questions_asked, share, table_of
from gac_app.evaluation.studies.study import QuestionStudy
from gac_app.evaluation.studies.thresholds import OPTIONS
from gac_app.evaluation.studies.weights import rounded, suffix_of, system_at
from gac_app.evaluation.tasks import Question, Task

MAX_MEMBERS = 6  # 63 choices


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice of members, in the configuration's order; `vs_best_own` is None for a single member."""

    members: tuple[str, ...]
    report: SystemReport
    vs_best_own: Comparison | None

    def to_json(self) -> dict[str, Any]:
        return {
            "members": list(self.members),
            "system": self.report.system.name,
            **self.report.to_json(),
            "vs_best_own": self.vs_best_own and self.vs_best_own.to_json(),
        }


_CELLS: dict[str, Callable[[Choice], str]] = {
    "members": lambda choice: " + ".join(choice.members),
    "number": lambda choice: str(len(choice.members)),
    "accuracy (95 %)": lambda choice: share(choice.report.num_right, len(choice.report.answers)),
    "member-s": lambda choice: figure(choice.report.member_seconds_per_answer, 2),
    "vs its best member": lambda choice: compared(choice.vs_best_own),
}


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
        found: dict[int, list[float]] = defaultdict(list)  # accuracies by the number of members
        for choice in choices:
            found[len(choice.members)].append(choice.report.accuracy)
        means = [Phrase("{n}: {share}", n=n, share=f"{mean(values):.1%}") for n, values in found.items()]
        return StudyResult(
            study=self.name,
            heading=questions_asked(task, len(asked)),
            tables=[table_of(_CELLS, choices)],
            data={
                "task": task,
                "n": len(asked),
                "by_number": {
                    str(n): {"mean": mean(values), "best": max(values), "worst": min(values)}
                    for n, values in found.items()
                },
                "choices": [choice.to_json() for choice in choices],
            },
            remarks=[Phrase("Mean accuracy by the number of members: {means}.", means=joined(", ", means))],
            plots=_plots(found, Phrase("More members on {task}", task=Phrase(task))),
            failure=failure(choice.report for choice in choices),
        )


def plan_scaling(config: Config, options: str = "") -> dict[tuple[str, ...], System]:
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


def judge_scaling(plan: Mapping[tuple[str, ...], System], answers: Mapping[System, Sequence[Graded]]) -> list[Choice]:
    """Evaluate the answers of the plan's systems, all to the same questions."""
    reports = summarise(answers)

    def best_of(choice: tuple[str, ...]) -> SystemReport:
        return max((reports[plan[name,]] for name in choice), key=lambda own: own.num_right)

    return [Choice(names, reports[one], reports[one].compared(best_of(names))) for names, one in plan.items()]


def _plots(found: Mapping[int, Sequence[float]], title: str) -> list[Spec]:
    series = {
        name: Series([(float(n), 100 * of(values)) for n, values in found.items()])
        for name, of in (("best choice", max), ("mean of all choices", mean), ("worst choice", min))
    }
    return line_charts(title, [Panel("members", "accuracy, %", series)])
