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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gac_app.errors import RequestError
from gac_app.evaluation.analyses.weight_search import (
    Ask,
    accuracies_on_grid,
    best_of,
    even,
    shares,
    suffix_of,
    system_at,
    vertex,
)
from gac_app.evaluation.metrics import Point
from gac_app.evaluation.running import System, SystemReport, parse_system, summarise
from gac_app.evaluation.tasks import Question

if TYPE_CHECKING:
    from gac_app.decoding.ensemble import Ensemble

_LEAD_IN = "\n"  # a first token can only be predicted after some text


@dataclass(frozen=True, slots=True)
class WeightMethod:
    """One method. `weights` are by member name and sum to 1; None if they change with the text."""

    system: System
    weights: Mapping[str, float] | None
    development: SystemReport
    held_out: SystemReport

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "system": self.system.name,
            "weights": dict(self.weights) if self.weights else None,
            "development": self.development.to_json(),
            "held_out": self.held_out.to_json(),
        }


@dataclass(frozen=True, slots=True)
class WeightReport:
    """The result. `tried`: the development accuracies of all weights on the grid, best first."""

    task: str
    methods: Mapping[str, WeightMethod]  # each member alone too, as `alone:MEMBER`
    tried: Sequence[tuple[Point, float]]
    perplexities: Mapping[str, float]  # per word of the question texts

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        some = next(iter(self.methods.values()))
        return {
            "task": self.task,
            "n_development": some.development.num_questions,
            "n_held_out": some.held_out.num_questions,
            "methods": {name: method.to_json() for name, method in self.methods.items()},
            "tried": [{"weights": list(weights), "accuracy": accuracy} for weights, accuracy in self.tried],
            "perplexity_per_word": dict(self.perplexities),
        }


def halves(questions: Sequence[Question]) -> tuple[list[Question], list[Question]]:
    """Development and held-out questions: alternating within each domain. With more questions, each stays in its half.

    Raises:
        RequestError: one of the halves would be empty.
    """
    split: tuple[list[Question], list[Question]] = ([], [])
    next_half: dict[str, int] = {}
    for question in questions:
        half = next_half.setdefault(question.domain, len(next_half) % 2)
        split[half].append(question)
        next_half[question.domain] = 1 - half
    if not all(split):
        raise RequestError("data", "has too few questions to tune on one half and check on the other")
    return split


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
        **{f"alone:{name}": vertex(index, len(names)) for index, name in enumerate(names)},
        "average": even(len(names)),
        "score": shares([tried[vertex(index, len(names))] for index in range(len(names))]),
        "perplexity": shares([1 / perplexities[name] for name in names]),
        "tuned": best_of(tried),
    }
    systems = {method: system_at(point, ensemble.config, suffix) for method, point in points.items()}
    systems["posterior"] = parse_system("every-step+posterior" + suffix, ensemble.config)
    methods = _compared(systems, ask, development, held_out)
    weights = {method: dict(zip(names, point, strict=True)) for method, point in points.items()}
    return WeightReport(
        task=task,
        methods={
            method: WeightMethod(systems[method], weights.get(method), *reports) for method, reports in methods.items()
        },
        tried=sorted(tried.items(), key=lambda pair: -pair[1]),
        perplexities=perplexities,
    )


def perplexity_per_word(ensemble: Ensemble, name: str, questions: Sequence[Question]) -> float:
    """A member's perplexity on the questions' texts: the geometric mean of 1 / probability over words."""
    texts = [question.question.strip() for question in questions]
    log_prob = sum(
        ensemble.score(_LEAD_IN, [text], ensemble.config.settings, alone=name, raw=True)[0].log_prob for text in texts
    )
    return math.exp(min(-log_prob / sum(len(text.split()) for text in texts), 700.0))


def _compared(
    systems: Mapping[str, System], ask: Ask, development: Sequence[Question], held_out: Sequence[Question]
) -> dict[str, tuple[SystemReport, SystemReport]]:
    """By method, its reports on the two halves, with `vs` the average."""
    distinct = list(dict.fromkeys(systems.values()))
    reports: list[dict[str, SystemReport]] = []
    for half in (development, held_out):
        found = summarise(ask(distinct, half), [systems["average"]])
        reports.append({report.system.name: report for report in found})
    return {method: (reports[0][system.name], reports[1][system.name]) for method, system in systems.items()}
