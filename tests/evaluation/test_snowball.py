"""Planted errors: what is planted, who is right after all, and what is made of it."""

from __future__ import annotations

import pytest

from gac_app.errors import RequestError
from gac_app.evaluation.studies.planting import planted, spoilt_sentence
from gac_app.evaluation.studies.snowballing import words_kept
from gac_app.evaluation.tasks.questions import Question
from gac_app.evaluation.tasks.task import load_task
from tests.evaluation.fakes import CAPITALS

NQ, GSM8K, BBH = load_task("nq"), load_task("gsm8k"), load_task("bbh")
SUMS = [
    Question(id="two", question="1 + 1?", answers=("2",), solution="One and one are 1 + 1 = 2. The answer is 2."),
    Question(id="six", question="3 + 3?", answers=("6",), solution="Twice three is 6, of course."),
    Question(id="no", question="Which?", answers=("5",), solution="It is odd."),
]


@pytest.mark.parametrize(
    ("solution", "spoilt"),
    [
        ("Half of 48 is 48 / 2 = 24 clips. In all 72.", "Half of 48 is 48 / 2 = 25 clips."),
        ("It costs 2 * 3 = $6.\nSo 7.", "It costs 2 * 3 = $7."),
        ("There are 12 eggs and 3 hens", "There are 12 eggs and 4 hens"),
        ("It weighs 1.5 kg. 7 of them.", ""),
        ("None.", ""),
        ("", ""),
    ],
)
def test_a_sentence_is_spoilt_in_its_result(solution: str, spoilt: str) -> None:
    assert spoilt_sentence(solution) == spoilt


def test_what_is_planted_is_wrong() -> None:
    same = Question(id="it2", question="Where is the Pope?", answers=("The Roma",))
    article = Question(id="x", question="What is it?", answers=("a dog",))
    long = Question(id="y", question="Why?", answers=("one two three four five six seven",))
    questions = [CAPITALS[1], same, article, long, CAPITALS[0]]
    assert planted(NQ, questions, "word").plants["it"] == " Paris"
    with pytest.raises(RequestError, match="it: no other question has an answer that is wrong"):
        planted(NQ, questions[:4], "word")


def test_choices_cannot_be_begun() -> None:
    with pytest.raises(RequestError, match="whose answers are written"):
        planted(load_task("piqa"), CAPITALS, "word")


def test_what_is_left_of_an_answer_is_told_by_place() -> None:
    assert words_kept("Half of 48 is 24.", "Half of 49 is 24.") == [True, True, False, True, True]
    assert words_kept("a b c", "c a b") == [True, True, False]
    assert words_kept("", "a") == []
