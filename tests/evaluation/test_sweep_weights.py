"""Weights and numbers of members: where they are looked for, on which questions, and what is compared."""

from __future__ import annotations

from typing import Any

import pytest

from gac_app.errors import RequestError
from gac_app.evaluation.studies.members import plan_scaling
from gac_app.evaluation.studies.weights import Weights, suffix_of
from gac_app.evaluation.tasks import Question, first_of_each_domain, halves
from tests.evaluation.fakes import CONFIG, PlannedAsk, marked
from tests.fakes import config_of

QUESTIONS = [Question(id=str(n), question="two words", answers=("x",)) for n in range(20)]


def test_halves_share_the_domains_and_stay_as_sets_grow() -> None:
    questions = [Question(id=f"{d}{n}", question="?", answers=("x",), domain=d) for d in "pqr" for n in range(6)]
    development, held_out = halves(first_of_each_domain(questions, 12))
    assert {question.domain for question in development} == {question.domain for question in held_out} == set("pqr")
    assert abs(len(development) - len(held_out)) <= 1
    more, _ = halves(first_of_each_domain(questions, None))
    assert {question.id for question in development} <= {question.id for question in more}
    apart = [question.model_copy(update={"domain": question.id}) for question in questions]
    assert [len(half) for half in halves(apart)] == [9, 9], "a question of each domain"
    with pytest.raises(RequestError, match="too few"):
        halves(questions[:1])


def test_what_has_no_weights_is_told() -> None:
    ask: Any = PlannedAsk(lambda _, questions: marked("." * len(questions)), config_of(["a"]))
    with pytest.raises(RequestError, match="only one member"):
        Weights().run(ask, QUESTIONS)
    with pytest.raises(RequestError, match="sets the weights"):
        suffix_of("posterior", CONFIG)


@pytest.mark.parametrize("names", [["a"], list("abcdefg")])
def test_too_few_or_too_many_members_are_not_compared(names: list[str]) -> None:
    with pytest.raises(RequestError, match="needs 2 to 6 members"):
        plan_scaling(config_of(names))
