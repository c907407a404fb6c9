"""Weights and numbers of members: where they are looked for, on which questions, and what is compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from gac_app.config import Config
from gac_app.errors import RequestError
from gac_app.evaluation.running import Graded
from gac_app.evaluation.studies.members import plan_scaling
from gac_app.evaluation.studies.weights import Weights, simplex_grid, suffix_of
from gac_app.evaluation.tasks import Question, first_of_each_domain, halves
from tests.evaluation.fakes import CONFIG, FakeEnsemble, PlannedAsk, marked
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


def oracle(config: Config = CONFIG, **accuracy: float) -> PlannedAsk:
    """Right as often as said of a system, by the end of its name, on the development half; never on the other."""

    def answers(name: str, questions: Sequence[Question]) -> list[Graded]:
        found = next((share for end, share in accuracy.items() if name.replace("every-step+w=", "") == end), 0.0)
        num_right = round(found * len(questions) * (questions[0].id == "0"))
        return marked(("x" * num_right).ljust(len(questions), "."))

    return PlannedAsk(answers, ensemble=PlainScores(config=config))


def test_each_method_is_checked_on_the_other_half() -> None:
    ask: Any = oracle(**{"alone:a": 0.6, "alone:b": 0.2, "every-step": 0.5, "0.8:0.2": 0.9})
    data = Weights().run(ask, QUESTIONS).data
    assert {name: method["weights"] for name, method in data["methods"].items()} == {
        "alone:a": {"a": 1, "b": 0},
        "alone:b": {"a": 0, "b": 1},
        "average": {"a": 0.5, "b": 0.5},
        "score": {"a": 0.75, "b": 0.25},
        "perplexity": {"a": 0.8, "b": 0.2},  # 2 and 8 per word
        "tuned": {"a": 0.8, "b": 0.2},
        "posterior": None,
    }
    assert data["perplexity_per_word"] == pytest.approx({"a": 2, "b": 8})
    tuned = data["methods"]["tuned"]
    assert (tuned["development"]["accuracy"], tuned["held_out"]["accuracy"]) == (0.9, 0.0)
    assert data["methods"]["average"]["system"] == "every-step", "as eval calls it"
    assert data["tried"][0] == {"weights": [0.8, 0.2], "accuracy": 0.9}
    assert set(ask.calls[0]) == {
        *("alone:a", "alone:b", "every-step"),
        *(f"every-step+w=0.{n}:0.{10 - n}" for n in (1, 2, 3, 4, 6, 7, 8, 9)),
    }, "in tenths, all at once"


class PlainScores(FakeEnsemble):
    """A word is worth 1 bit to member a and 3 bits to b."""

    def score(self, prompt, continuations, settings, *, alone, raw):  # type: ignore[no-untyped-def]
        from gac_app.decoding.scoring import Score

        bits = {"a": 1, "b": 3, "c": 3}[alone]
        return [Score(-math.log(2) * bits * len(text.split()), len(text), 2, 0) for text in continuations]


def test_where_questions_cannot_tell_weights_stay_even() -> None:
    ask: Any = oracle()
    assert Weights().run(ask, QUESTIONS).data["methods"]["tuned"]["weights"] == {"a": 0.5, "b": 0.5}


def test_what_has_no_weights_is_told() -> None:
    ask: Any = oracle(config_of(["a"]))
    with pytest.raises(RequestError, match="only one member"):
        Weights().run(ask, QUESTIONS)
    with pytest.raises(RequestError, match="sets the weights"):
        suffix_of("posterior", CONFIG)


@pytest.mark.parametrize("names", [["a"], list("abcdefg")])
def test_too_few_or_too_many_members_are_not_compared(names: list[str]) -> None:
    with pytest.raises(RequestError, match="needs 2 to 6 members"):
        plan_scaling(config_of(names))
