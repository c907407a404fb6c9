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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any

from gac_app.charts import Panel, Series, Spec, line_charts
from gac_app.config import Config
from gac_app.errors import MemberError, Phrase, RequestError
from gac_app.evaluation.running import System, SystemReport, parse_system, summarise
from gac_app.evaluation.studies.evaluator import Evaluator
from gac_app.evaluation.studies.result import StudyResult, compared, failure, share, table_of
from gac_app.evaluation.studies.study import QuestionStudy
from gac_app.evaluation.studies.thresholds import OPTIONS
from gac_app.evaluation.tasks import Question, halves

if TYPE_CHECKING:
    from gac_app.decoding.ensemble import Ensemble

Point = tuple[float, ...]

_TENTHS, _QUARTERS = 10, 4  # steps of the grid for two members, and for more
_LEAD_IN = "\n"  # a first token can only be predicted after some text


@dataclass(frozen=True, slots=True)
class WeightMethod:
    """One method. `weights` are by member name and sum to 1; None if they change with the text."""

    name: str
    weights: dict[str, float] | None
    development: SystemReport
    held_out: SystemReport

    def to_json(self) -> dict[str, Any]:
        halves = {"development": self.development.to_json(), "held_out": self.held_out.to_json()}
        return {"system": self.held_out.system.name, "weights": self.weights, **halves}


_CELLS: dict[str, Callable[[WeightMethod], str]] = {
    "method": lambda one: one.name,
    "weights": lambda one: " : ".join(f"{weight:g}" for weight in (one.weights or {}).values()) or "follow the text",
    "development": lambda one: f"{one.development.accuracy:.1%}",
    "held out (95 %)": lambda one: share(one.held_out.num_right, len(one.held_out.answers)),
    "vs average": lambda one: compared(next(iter(one.held_out.vs.values()))),
    "vs best member": lambda one: compared(one.held_out.vs_best_member),
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
        """Compare the methods above, and each member alone.

        Raises:
            RequestError: there is only one member, or there are too few questions.
        """
        ensemble, config, task = ask.ensemble, ask.ensemble.config, ask.task.name
        names = config.member_names
        if len(names) < 2:
            raise RequestError("weights", "have nothing to weigh: there is only one member")
        both = development, held_out = halves(asked)
        suffix = suffix_of(self.options, config)
        tried = accuracies_on_grid(ask, development, suffix)
        perplexities = perplexities_per_word(ensemble, development)
        points = points_of(names, tried, perplexities)
        systems = {method: system_at(point, config, suffix) for method, point in points.items()}
        systems["posterior"] = parse_system("every-step+posterior" + suffix, config)
        given = [ask(list(dict.fromkeys(systems.values())), half) for half in both]
        first, last = (summarise(answers, [systems["average"]]) for answers in given)
        weights = {method: dict(zip(names, point, strict=True)) for method, point in points.items()}
        methods = [WeightMethod(name, weights.get(name), first[one], last[one]) for name, one in systems.items()]
        ranked = sorted(tried.items(), key=lambda pair: -pair[1])
        return StudyResult(
            study=self.name,
            heading=Phrase(
                "{task}: {count} questions to find weights, {others} held out",
                task=Phrase(task),
                count=len(development),
                others=len(held_out),
            ),
            tables=[table_of(_CELLS, methods)],
            data={
                "task": task,
                "n_development": len(development),
                "n_held_out": len(held_out),
                "methods": {method.name: method.to_json() for method in methods},
                "tried": [{"weights": list(point), "accuracy": accuracy} for point, accuracy in ranked],
                "perplexity_per_word": perplexities,
            },
            plots=_plots(Phrase("Weights on {task}", task=Phrase(task)), methods, tried, names),
            failure=failure([*first.values(), *last.values()]),
        )


def points_of(
    names: Sequence[str], tried: Mapping[Point, float], perplexities: Mapping[str, float]
) -> dict[str, Point]:
    """Each method's weights, of those that have some. `tried`: the development accuracies on the grid."""
    only = {name: tuple(float(name == other) for other in names) for name in names}  # all the weight on one member
    return {
        **{f"alone:{name}": point for name, point in only.items()},
        "average": even(len(names)),
        "score": _shares([tried[point] for point in only.values()]),
        "perplexity": _shares([1 / perplexities[name] for name in names]),
        # Of equals the most even.
        "tuned": max(tried, key=lambda point: (tried[point], -sum(weight**2 for weight in point))),
    }


def accuracies_on_grid(ask: Evaluator, development: Sequence[Question], suffix: str) -> dict[Point, float]:
    """The share of development questions answered right with each weights on the grid, in the members' order.

    All points are evaluated together, so that each prompt is read only once.

    Args:
        suffix: of all ensembles' names, from `suffix_of`.
    """
    config = ask.ensemble.config
    num_members = len(config.member_names)
    grid = simplex_grid(num_members, _TENTHS if num_members == 2 else _QUARTERS)
    systems = {point: system_at(point, config, suffix) for point in (even(num_members), *map(rounded, grid))}
    given = ask(list(systems.values()), development)
    return {point: SystemReport(system, given[system]).accuracy for point, system in systems.items()}


def _shares(values: Sequence[float]) -> Point:
    """In proportion to `values`; equal where all are 0."""
    total = sum(values)
    return rounded(tuple(value / total for value in values)) if total > 0 else even(len(values))


def perplexities_per_word(ensemble: Ensemble, questions: Sequence[Question]) -> dict[str, float]:
    """Each member's perplexity on the questions' texts, of those that all can read: the geometric mean of
    1 / probability over words.
    """
    settings, num_words = ensemble.config.settings, 0
    log_probs = dict.fromkeys(ensemble.config.member_names, 0.0)
    for text in (question.question.strip() for question in questions):
        try:
            found = {one: ensemble.score(_LEAD_IN, [text], settings, alone=one, raw=True)[0] for one in log_probs}
        except (MemberError, RequestError):  # too long for one
            continue
        num_words += len(text.split())
        log_probs = {name: log_probs[name] + score.log_prob for name, score in found.items()}
    return {name: math.exp(min(-log_prob / max(num_words, 1), 700.0)) for name, log_prob in log_probs.items()}


def _plots(
    title: str, methods: Sequence[WeightMethod], tried: Mapping[Point, float], names: Sequence[str]
) -> list[Spec]:
    """Accuracy over two members' weights; no plot for more members."""
    if len(names) != 2:
        return []
    held_out = [(one.weights[names[0]], 100 * one.held_out.accuracy) for one in methods if one.weights]
    series = {
        "development half": Series(sorted((weights[0], 100 * accuracy) for weights, accuracy in tried.items())),
        "held-out half": Series(sorted(held_out)),
    }
    return line_charts(title, [Panel(Phrase("weight of {name}", name=names[0]), "accuracy, %", series)])


# --- points of the simplex, and their systems


def simplex_grid(num_weights: int, resolution: int) -> Iterator[Point]:
    """All points whose weights are multiples of 1 / resolution.

    Example: (2, 2) -> (0.0, 1.0), (0.5, 0.5), (1.0, 0.0)
    """
    last = resolution + num_weights - 1
    for bars in combinations(range(last), num_weights - 1):  # among `resolution` stars in a row
        yield tuple((bar - before - 1) / resolution for before, bar in pairwise((-1, *bars, last)))


def suffix_of(options: str, config: Config) -> str:
    """The end of a system's name. Raises RequestError if `options` are unknown, or set the weights."""
    if not options:
        return ""
    if "weights" in parse_system(f"every-step+{options}", config).changes:
        raise RequestError("options", f"{options!r}: sets the weights, which are what is compared")
    return f"+{options}"


def system_at(point: Point, config: Config, suffix: str = "") -> System:
    """The ensemble with these weights at every step. If only one member has weight, that member alone."""
    heard = [name for name, weight in zip(config.member_names, point, strict=True) if weight > 0]
    if len(heard) == 1:
        return parse_system(f"alone:{heard[0]}", config)
    if point == even(len(config.member_names)):
        is_default = config.settings.weights == "average"  # the shorter name, as `eval` would use it
        return parse_system(("every-step" if is_default else "every-step+average") + suffix, config)
    return parse_system(f"every-step+w={':'.join(f'{weight:g}' for weight in point)}{suffix}", config)


def even(num_members: int) -> Point:
    """Equal weights."""
    return rounded((1 / num_members,) * num_members)


def rounded(point: Point) -> Point:
    """Rounded to hundredths, so that equal weights have equal names."""
    return tuple(round(weight, 2) for weight in point)
