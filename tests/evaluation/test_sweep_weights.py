"""Weights: where they are looked for, on which questions, and what is compared."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import cast

import pytest

from gac_app.decoding.ensemble import Ensemble
from gac_app.errors import RequestError
from gac_app.evaluation.running.result_cache import Graded
from gac_app.evaluation.running.systems import System, simplex_grid, suffix_of
from gac_app.evaluation.studies.weights import accuracies_on_grid, best_of, perplexity_per_word, sweep_weights
from gac_app.evaluation.tasks.questions import Question, first_of_each_domain, halves
from tests.evaluation.fakes import CONFIG, FakeEnsemble
from tests.fakes import config_of

QUESTIONS = [Question(id=str(n), question="two words", answers=("x",)) for n in range(20)]


@pytest.mark.parametrize(("num_weights", "resolution"), [(1, 3), (2, 4), (3, 4), (4, 2)])
def test_a_grid_covers_the_simplex(num_weights: int, resolution: int) -> None:
    points = list(simplex_grid(num_weights, resolution))
    assert len(set(points)) == len(points) == math.comb(resolution + num_weights - 1, num_weights - 1)
    assert all(sum(point) == pytest.approx(1) and min(point) >= 0 for point in points)


def test_halves_share_the_domains_and_stay_as_sets_grow() -> None:
    questions = [Question(id=f"{d}{n}", question="?", answers=("x",), domain=d) for d in "pqr" for n in range(6)]
    development, held_out = halves(first_of_each_domain(questions, 12))
    assert {question.domain for question in development} == {question.domain for question in held_out} == set("pqr")
    assert abs(len(development) - len(held_out)) <= 1
    more, _ = halves(first_of_each_domain(questions, None))
    assert {question.id for question in development} <= {question.id for question in more}
    with pytest.raises(RequestError, match="too few"):
        halves(questions[:1])


class Oracle:
    """Right as often as `accuracy` says of a system's name, on the development half; never on the other."""

    def __init__(self, accuracy: Mapping[str, float]) -> None:
        self.accuracy = accuracy
        self.asked: list[str] = []

    def __call__(self, systems: Sequence[System], questions: Sequence[Question]) -> dict[System, list[Graded]]:
        self.asked += [system.name for system in systems]
        is_development = questions[0].id == "0"
        found = {}
        for system in systems:
            num_right = self.accuracy.get(system.name, 0.0) * len(questions) * is_development
            found[system] = [Graded(question.id, is_right=n < num_right) for n, question in enumerate(questions)]
        return found


def test_each_method_is_checked_on_the_other_half() -> None:
    oracle = Oracle({"alone:a": 0.6, "alone:b": 0.2, "every-step": 0.5, "every-step+w=0.8:0.2": 0.9})
    report = sweep_weights(cast(Ensemble, PlainScores()), oracle, "nq", QUESTIONS)
    found = {name: method.weights for name, method in report.methods.items()}
    assert found["average"] == {"a": 0.5, "b": 0.5}
    assert found["score"] == {"a": 0.75, "b": 0.25}
    assert found["perplexity"] == {"a": 0.8, "b": 0.2}, "2 and 8 per word"
    assert found["tuned"] == {"a": 0.8, "b": 0.2}
    assert found["posterior"] is None
    assert report.methods["tuned"].development.accuracy == 0.9
    assert report.methods["tuned"].held_out.accuracy == 0.0
    assert report.methods["average"].system.name == "every-step", "as eval calls it"
    assert report.tried[0] == ((0.8, 0.2), 0.9)
    json.dumps(report.to_json())


class PlainScores(FakeEnsemble):
    """A word is worth 1 bit to member a and 3 bits to b."""

    def score(self, prompt, continuations, settings, *, alone, raw):  # type: ignore[no-untyped-def]
        from gac_app.decoding.scoring.pieces import Score

        bits = {"a": 1, "b": 3}[alone]
        return [Score(-math.log(2) * bits * len(text.split()), len(text), 2, 0) for text in continuations]


def test_perplexity_is_per_word() -> None:
    assert perplexity_per_word(cast(Ensemble, PlainScores()), "b", QUESTIONS) == pytest.approx(8)


def test_where_questions_cannot_tell_weights_stay_even() -> None:
    assert best_of(accuracies_on_grid(CONFIG, Oracle({}), QUESTIONS)) == (0.5, 0.5)


def test_two_members_are_tried_in_tenths_all_at_once() -> None:
    calls: list[list[str]] = []

    def ask(systems: Sequence[System], questions: Sequence[Question]) -> dict[System, list[Graded]]:
        calls.append([system.name for system in systems])
        return Oracle({"every-step+w=0.9:0.1": 0.3})(systems, questions)

    tried = accuracies_on_grid(CONFIG, ask, QUESTIONS)
    assert (best_of(tried), tried[0.9, 0.1], tried[1.0, 0.0]) == ((0.9, 0.1), 0.3, 0)
    [names] = calls
    assert set(names) == {
        "alone:a",
        "alone:b",
        "every-step",
        *(f"every-step+w=0.{n}:0.{10 - n}" for n in (1, 2, 3, 4, 6, 7, 8, 9)),
    }


def test_three_members_are_tried_on_a_grid() -> None:
    oracle = Oracle({"every-step+w=0:0.25:0.75+paper": 0.4})
    tried = accuracies_on_grid(config_of(["a", "b", "c"]), oracle, QUESTIONS, "+paper")
    assert best_of(tried) == (0, 0.25, 0.75)
    assert len(oracle.asked) == len(set(oracle.asked)) == 16
    assert {"alone:a", "alone:b", "alone:c", "every-step+paper"} < set(oracle.asked)


def test_what_has_no_weights_is_told() -> None:
    with pytest.raises(RequestError, match="only one member"):
        sweep_weights(cast(Ensemble, PlainScores(config=config_of(["a"]))), Oracle({}), "nq", QUESTIONS)
    with pytest.raises(RequestError, match="sets the weights"):
        suffix_of("posterior", CONFIG)
