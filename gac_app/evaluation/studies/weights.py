"""The best weights for a benchmark: found on one half of its questions, checked on the other (paper, section 3.2).

The methods, all at every step:

`average`      equal weights
`score`        in proportion to the members' accuracies on the development half
`perplexity`   in proportion to 1 / perplexity per word of the development half's question texts; needs no answers
`tuned`        the best on the development half of a grid over the simplex, in tenths for two members, in quarters for
               more; the grid includes members alone and equal weights
`posterior`    each member's weight follows how well it predicted the text so far (the weight rule of that name)

Accuracy on a few questions is noisy and has several maxima, so the whole grid is tried, and its best value is
optimistic: trust the held-out half.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gac_app.charts import Panel, Series, Spec, line_charts
from gac_app.config import Config
from gac_app.errors import RequestError
from gac_app.evaluation.running import (
    Graded,
    Point,
    System,
    SystemReport,
    even,
    parse_system,
    rounded,
    simplex_grid,
    suffix_of,
    summarise,
    system_at,
)
from gac_app.evaluation.studies.evaluator import Evaluator
from gac_app.evaluation.studies.result import StudyResult, Table, accuracy, compared, failure
from gac_app.evaluation.studies.study import QuestionStudy
from gac_app.evaluation.studies.thresholds import OPTIONS
from gac_app.evaluation.tasks import Question, halves

if TYPE_CHECKING:
    from gac_app.decoding.ensemble import Ensemble

Ask = Callable[[Sequence[System], Sequence[Question]], Mapping[System, Sequence[Graded]]]

_TENTHS, _QUARTERS = 10, 4  # steps of the grid for two members, and for more
_LEAD_IN = "\n"  # a first token can only be predicted after some text
_COLUMNS = ("method", "weights", "development", "held out (95 %)", "vs average", "vs best member")


@dataclass(frozen=True, slots=True)
class WeightMethod:
    """One method. `weights` are by member name and sum to 1; None if they change with the text."""

    system: System
    weights: dict[str, float] | None
    development: SystemReport
    held_out: SystemReport


@dataclass(frozen=True, slots=True)
class WeightReport:
    """The result. `tried`: the development accuracies of all weights on the grid, best first."""

    task: str
    methods: Mapping[str, WeightMethod]  # each member alone too, as `alone:MEMBER`
    tried: Sequence[tuple[Point, float]]
    perplexities: dict[str, float]  # per word of the question texts

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        some = next(iter(self.methods.values()))
        return {
            "task": self.task,
            "n_development": some.development.num_questions,
            "n_held_out": some.held_out.num_questions,
            "methods": {
                name: {
                    "system": method.system.name,
                    "weights": method.weights,
                    "development": method.development.to_json(),
                    "held_out": method.held_out.to_json(),
                }
                for name, method in self.methods.items()
            },
            "tried": [{"weights": list(weights), "accuracy": accuracy} for weights, accuracy in self.tried],
            "perplexity_per_word": self.perplexities,
        }


class Weights(QuestionStudy):
    """Weights instead of thresholds: found on one half, checked on the other."""

    name = "weights"
    title = "Weights"
    about = "Weights found on one half of the questions, checked on the other."
    place = 3
    flag_of = "sweep"
    options: str = OPTIONS

    def run(self, ask: Evaluator, asked: Sequence[Question]) -> StudyResult:
        """Compare the methods above. Raises RequestError if there is nothing to weigh."""
        report = sweep_weights(ask.ensemble, ask, ask.task.name, asked, self.options)
        found = report.methods["average"]
        return StudyResult(
            study=self.name,
            heading=f"{report.task}: {found.development.num_questions} questions to find weights, "
            f"{found.held_out.num_questions} held out",
            tables=[Table(_COLUMNS, _rows(report))],
            data=report.to_json(),
            plots=_plots(report, ask.ensemble.config.member_names),
            failure=failure(one for method in report.methods.values() for one in (method.development, method.held_out)),
        )


def sweep_weights(
    ensemble: Ensemble, ask: Ask, task: str, questions: Sequence[Question], options: str = ""
) -> WeightReport:
    """Find weights on one half of `questions` and compare the methods on the other.

    Args:
        ask: gives every system's answers to questions, in their order; may be called often.
        options: of all ensembles, as in a system's name: `paper`; "" = the configuration's.

    Raises:
        RequestError: there is only one member, or there are too few questions.
    """
    names = ensemble.config.member_names
    if len(names) < 2:
        raise RequestError("weights", "have nothing to weigh: there is only one member")
    development, held_out = halves(questions)
    suffix = suffix_of(options, ensemble.config)
    tried = accuracies_on_grid(ensemble.config, ask, development, suffix)
    perplexities = {name: perplexity_per_word(ensemble, name, development) for name in names}
    points = {
        **{f"alone:{name}": _vertex(index, len(names)) for index, name in enumerate(names)},
        "average": even(len(names)),
        "score": _shares([tried[_vertex(index, len(names))] for index in range(len(names))]),
        "perplexity": _shares([1 / perplexities[name] for name in names]),
        "tuned": best_of(tried),
    }
    systems = {method: system_at(point, ensemble.config, suffix) for method, point in points.items()}
    systems["posterior"] = parse_system("every-step+posterior" + suffix, ensemble.config)
    weights = {method: dict(zip(names, point, strict=True)) for method, point in points.items()}
    first, last = (_reports(systems, ask, half) for half in (development, held_out))
    return WeightReport(
        task=task,
        methods={
            method: WeightMethod(system, weights.get(method), first[system], last[system])
            for method, system in systems.items()
        },
        tried=sorted(tried.items(), key=lambda pair: -pair[1]),
        perplexities=perplexities,
    )


def accuracies_on_grid(
    config: Config, ask: Ask, development: Sequence[Question], suffix: str = ""
) -> dict[Point, float]:
    """The share of development questions answered right with each weights on the grid, in the members' order.

    All points are evaluated together, so that each prompt is read only once.

    Args:
        suffix: of all ensembles' names, from `suffix_of`.
    """
    num_members = len(config.member_names)
    grid = simplex_grid(num_members, _TENTHS if num_members == 2 else _QUARTERS)
    systems = {point: system_at(point, config, suffix) for point in (even(num_members), *map(rounded, grid))}
    given = ask(list(systems.values()), development)
    return {
        point: sum(answer.is_right for answer in given[system]) / len(given[system])
        for point, system in systems.items()
    }


def best_of(accuracies: Mapping[Point, float]) -> Point:
    """The most accurate point; among equals the most even one."""
    return max(accuracies, key=lambda point: (accuracies[point], -sum(weight**2 for weight in point)))


def _vertex(index: int, num_members: int) -> Point:
    """All the weight on one member."""
    return tuple(float(index == other) for other in range(num_members))


def _shares(values: Sequence[float]) -> Point:
    """In proportion to `values`; equal where all are 0."""
    total = sum(values)
    return rounded(tuple(value / total for value in values)) if total > 0 else even(len(values))


def perplexity_per_word(ensemble: Ensemble, name: str, questions: Sequence[Question]) -> float:
    """A member's perplexity on the questions' texts: the geometric mean of 1 / probability over words."""
    texts = [question.question.strip() for question in questions]
    log_prob = sum(
        ensemble.score(_LEAD_IN, [text], ensemble.config.settings, alone=name, raw=True)[0].log_prob for text in texts
    )
    return math.exp(min(-log_prob / sum(len(text.split()) for text in texts), 700.0))


def _reports(systems: Mapping[str, System], ask: Ask, half: Sequence[Question]) -> dict[System, SystemReport]:
    """Reports on a half, with `vs` the average."""
    given = ask(list(dict.fromkeys(systems.values())), half)
    return dict(zip(given, summarise(given, [systems["average"]]), strict=True))


def _rows(report: WeightReport) -> list[list[str]]:
    average = report.methods["average"].held_out.system
    return [
        [
            name,
            " : ".join(f"{weight:g}" for weight in method.weights.values()) if method.weights else "follow the text",
            f"{method.development.accuracy:.1%}",
            accuracy(method.held_out),
            compared(method.held_out.vs[average.name]),
            compared(method.held_out.vs_best_member),
        ]
        for name, method in report.methods.items()
    ]


def _plots(report: WeightReport, names: Sequence[str]) -> list[Spec]:
    """Accuracy over two members' weights; no plot for more members."""
    if len(names) != 2:
        return []
    tried = sorted((weights[0], 100 * accuracy) for weights, accuracy in report.tried)
    held_out = sorted(
        (method.weights[names[0]], 100 * method.held_out.accuracy)
        for method in report.methods.values()
        if method.weights
    )
    series = {"development half": Series(tried), "held-out half": Series(held_out)}
    return line_charts(f"Weights on {report.task}", [Panel(f"weight of {names[0]}", "accuracy, %", series)])
