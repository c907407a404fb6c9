"""The task files: complete, and right about their own examples."""

from __future__ import annotations

import re

import pytest

from gac_app.errors import RequestError
from gac_app.evaluation.tasks.matching import extracted, is_right
from gac_app.evaluation.tasks.questions import Question
from gac_app.evaluation.tasks.task import Task, load_task, task_names
from tests.evaluation.fakes import CAPITALS, CHOICES

PUBLISHED = {"triviaqa", "nq", "mmlu", "gsm8k", "bbh", "piqa", "arc_challenge"}


@pytest.fixture(params=task_names())
def task(request: pytest.FixtureRequest) -> Task:
    return load_task(request.param)


def test_all_benchmarks_have_a_file() -> None:
    assert set(task_names()) >= PUBLISHED


def test_a_document_ends_where_the_answer_begins(task: Task) -> None:
    question = CHOICES[0] if task.kind == "choice" else CAPITALS[0]
    prompt = task.prompt(question)
    assert re.search(r"(Answer|A):$", prompt)
    assert question.question in prompt.split(task.separator)[-1]


def test_examples_are_right_by_the_task_itself(task: Task) -> None:
    """The answer that an example shows, cut at the stop strings, is judged right."""
    for example in task.examples:
        shown = task.prompt(example.model_copy(update={"question": "?"}))
        task.check([example])
        assert example.question in shown
        if task.kind == "generation":
            text = f" {example.solution or example.answers[0]}"
            assert not any(stop in text for stop in task.stop)
            assert is_right(extracted(text, task.extract), example.answers, task.match), example.question


def test_as_many_examples_as_the_protocol_says(task: Task) -> None:
    domains = {example.domain for example in task.examples} or {""}
    for domain in domains:
        question = Question(question="What?", answers=("x",), choices=("x",), answer=0, domain=domain)
        shown = [example for example in task.examples if example.question in task.prompt(question)]
        assert len(shown) == task.num_examples
        assert all(example.domain == domain for example in shown)


def test_an_example_never_gives_its_own_question_away(task: Task) -> None:
    for example in task.examples:
        assert task.prompt(example).count(example.question) == 1


def test_letters_and_texts() -> None:
    assert load_task("mmlu").continuations(CHOICES[0]) == [" A", " B"]
    assert "\nA. green\nB. blue\nAnswer:" in load_task("mmlu").prompt(CHOICES[0])
    assert load_task("piqa").continuations(CHOICES[0]) == [" green", " blue"]
    assert load_task("mmlu_cloze").continuations(CHOICES[0]) == [" green", " blue"]


def test_braces_in_a_question_are_text() -> None:
    question = Question(question="What is {domain} {0}?", answers=("x",))
    assert "What is {domain} {0}?" in load_task("triviaqa").prompt(question)


def test_examples_of_ones_own_take_the_place_of_the_built_in() -> None:
    task = load_task("mmlu").with_examples([*CHOICES, CHOICES[0].model_copy(update={"domain": "physics"})])
    assert task.prompt(CHOICES[0]).count("The sky is") == 1, "an example is never the question itself"
    assert "Snow is\nA. white\nB. warm\nAnswer: A\n\n" in task.prompt(CHOICES[0])
    physics = Question(question="Light is", choices=("fast",), answer=0, domain="physics")
    assert "Snow" not in task.prompt(physics)
    assert "about physics." in task.prompt(physics)


def test_choices_are_scored_after_documents_only() -> None:
    with pytest.raises(ValueError, match="form: a chat is of written answers"):
        Task.model_validate({**load_task("piqa").model_dump(), "form": "chat"})


def test_questions_of_the_other_kind_are_refused() -> None:
    with pytest.raises(RequestError, match="needs 'choices'"):
        load_task("piqa").check(CAPITALS)
    with pytest.raises(RequestError, match="needs 'answers'"):
        load_task("nq").check(CHOICES)
    with pytest.raises(RequestError, match="unknown task 'chess'; expected arc_challenge"):
        load_task("chess")
