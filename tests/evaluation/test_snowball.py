"""Planted errors: what is planted, who is right after all, and what is made of it."""

from __future__ import annotations

import pytest

from gac_app.errors import RequestError
from gac_app.evaluation.running.result_cache import Graded
from gac_app.evaluation.running.systems import parse_system
from gac_app.evaluation.studies.planting import planted, spoilt_sentence
from gac_app.evaluation.studies.snowballing import is_said, judge_snowball, words_kept
from gac_app.evaluation.tasks.questions import Question
from gac_app.evaluation.tasks.task import load_task
from tests.evaluation.fakes import CAPITALS, CONFIG

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


def test_right_is_what_the_text_comes_to() -> None:
    italy = CAPITALS[1]
    assert is_said(NQ, italy, ", or the city of Rome, Italy")
    assert not is_said(NQ, italy, " Romeo")
    assert not is_said(NQ, italy, "")
    assert is_said(GSM8K, SUMS[0], " No: 3 is wrong. The answer is 2.")
    assert not is_said(GSM8K, SUMS[0], " 2 and no more, so 4.")
    assert is_said(BBH, Question(id="b", question="?", answers=("True",)), " No. So the answer is True.")


def test_what_is_left_of_an_answer_is_told_by_place() -> None:
    assert words_kept("Half of 48 is 24.", "Half of 49 is 24.") == [True, True, False, True, True]
    assert words_kept("a b c", "c a b") == [True, True, False]
    assert words_kept("", "a") == []
    right = Graded("q", text=" ".join(f"w{n}" for n in range(10)))
    changed = Graded("q", text="no w1 w2 no w4 w5 w6 w7 w8 w9")
    systems = [parse_system("alone:a", CONFIG)]
    [found] = judge_snowball(NQ, CAPITALS[:1], {systems[0]: [right]}, {systems[0]: [changed]})
    assert [(kept.first, kept.last, kept.num_words, kept.share) for kept in found.kept] == [
        (1, 1, 1, 0.0),
        (2, 2, 1, 1.0),
        (3, 4, 2, 0.5),
        (5, 8, 4, 1.0),
        (9, 16, 2, 1.0),
    ]
