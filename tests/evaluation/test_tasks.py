"""The task files: complete, and right about their own examples. Questions and prompts from files, good and bad."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gac_app.errors import RequestError
from gac_app.evaluation.tasks.matching import extracted, is_right
from gac_app.evaluation.tasks.prompts import parse_prompts
from gac_app.evaluation.tasks.questions import Question, first_of_each_domain, parse_questions, read_questions
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


def _file(folder: Path, *lines: str) -> Path:
    path = folder / "questions.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_both_forms_are_read(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        '\ufeff{"id": "x", "question": "2 + 2?", "answers": [4], "task": "sums", "more": 1}',
        "",
        '{"question": "Up or\\u2028down?", "choices": ["up", "down"], "answer": 0, "domain": "ways"}',
    )
    first, second = read_questions(path)
    assert (first.id, first.answers, first.domain, first.is_choice) == ("x", ("4",), "sums", False)
    assert (second.id, second.choices, second.domain, second.is_choice) == ("line-3", ("up", "down"), "ways", True)


@pytest.mark.parametrize(("line", "message"), [
    ("{", "line 1: Invalid JSON"), ('["q"]', "line 1: "), ('{"answers": ["4"]}', "line 1: question: Field required"),
    ('{"question": "q"}', "line 1: Expected 'answers', or 'choices'"),
    ('{"question": "q", "choices": ["x"], "answer": 1}', "line 1: Expected"),
    ('{"question": "q", "choices": ["x"], "answer": "first"}', "line 1: answer"),
    ("", "no questions"), ('{"id": 1, "question": "q", "answers": ["x"]}\n' * 2, "duplicate id '1'"),
])  # fmt: skip
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        read_questions(_file(tmp_path, line))


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="cannot be read"):
        read_questions(tmp_path / "none.jsonl")
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(RequestError, match="not UTF-8"):
        read_questions(tmp_path / "bytes.jsonl")


def test_a_small_sample_is_part_of_a_large_one() -> None:
    questions = [Question(id=f"{d}{n}", question="q", answers=("x",), domain=d) for d in "ab" for n in range(3)]
    assert [q.id for q in first_of_each_domain(questions, 4)] == ["a0", "b0", "a1", "b1"]
    assert first_of_each_domain(questions, None)[:4] == first_of_each_domain(questions, 4)
    assert len(first_of_each_domain(questions, None)) == 6


def test_rows_of_csv_are_questions() -> None:
    text = (
        "\n"
        "id, question,choices,answer,answers,solution,subject\n"
        "1,Up?,up | down|,down,,,ways\n"
        ",Left?,left|right,0,,,\n"
        "3,2+2?,,,4|four,2+2=4.,\n"
        "\n"
        ",Capital?,,Rome,,,\n"
    )
    first, second, third, fourth = parse_questions(text, "own")
    assert first == Question(id="1", question="Up?", choices=("up", "down"), answer=1, domain="ways")
    assert (second.id, second.choices, second.answer, second.domain) == ("line-4", ("left", "right"), 0, "")
    assert third == Question(id="3", question="2+2?", answers=("4", "four"), solution="2+2=4.")
    assert (fourth.question, fourth.answers) == ("Capital?", ("Rome",))


@pytest.mark.parametrize(("choices", "answer"), [("1|2|3", 1), ("2|3|4", 2), ("3|0|1", 0)])
def test_a_number_is_the_index_in_csv_as_in_json(choices: str, answer: int) -> None:
    [of_csv] = parse_questions(f"question,choices,answer\nOne?,{choices},{answer}\n", "own")
    as_json = json.dumps({"question": "One?", "choices": choices.split("|"), "answer": answer})
    [of_json] = parse_questions(as_json, "own")
    assert of_csv.accepted == of_json.accepted == choices.split("|")[answer]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("question,choices,answer\nOne?,10|20,20\n", "own: Line 2: Expected"),
        ('\nquestion,answer\n"O\nne?",1\n\nTwo?,\n', "own: Line 6: Expected 'answers'"),
        ("question,choices,answer\nOne?,a|b|,2\n", "own: Line 2: Expected"),
        ("question,choices,answer\nOne?,a||c|d,2\n", "own: Line 2: choices.1: String should have at least 1 character"),
        ("prompt\nOne?", "own: Line 1: Invalid JSON"),
        ("id,question,answer\n7,One?,1\n7,Two?,2\n", "own: duplicate id '7'"),
        ("question,answer\nWho, then?,Al,,\n", r"own: Line 2: Invalid CSV \(more values than headings"),
        ("question\n", "own: Enter at least one question"),
    ],
)
def test_a_bad_row_is_named(text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        parse_questions(text, "own")


def test_a_question_in_a_chat_and_its_right_answer() -> None:
    choice = Question(question=" Up? ", choices=(" up", "down "), answer=1)
    assert (choice.as_prompt, choice.accepted, choice.is_choice) == ("Up?\n- up\n- down", "down ", True)
    plain = Question(question="2+2?", answers=("4", "four"))
    assert (plain.as_prompt, plain.accepted, plain.is_choice) == ("2+2?", "4 / four", False)
    assert not Question(question="?", choices=("a",), answer=1).is_choice


@pytest.mark.parametrize(("text", "prompts"), [
    ("One?\n\n  Two, three?  \n", ["One?", "Two, three?"]),
    ('{"prompt": "One?\\nMore"}\n{"question": "Two?", "id": 3}\n"Three?"', ["One?\nMore", "Two?", "Three?"]),
    ('id,prompt\n1,"One, two\nthree?"\n2,\n3,Four?,,\n', ["One, two\nthree?", "Four?"]),
    (' id, prompt \n1, "One, two?"\n2, Three?', ["One, two?", "Three?"]),
    ('a,"b,prompt"\nOne?', ['a,"b,prompt"', "One?"]), ("مرحبا؟\n日本語？", ["مرحبا؟", "日本語？"]),
    ("Which, of these?\nAnd that?", ["Which, of these?", "And that?"]),
])  # fmt: skip
def test_lines_json_and_csv_are_read(text: str, prompts: list[str]) -> None:
    assert parse_prompts(text, 10) == prompts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (" \n", "Enter at least one prompt"),
        ('{"prompt": "a"}\n{', "Line 2: Invalid JSON"),
        ('{"prompt": "a"}\n{"a":' + "[" * 100_000, r"Line 2: Invalid JSON \(depth limit exceeded\)"),
        ('{"prompt": "a", "id": NaN}', "Line 1: Invalid JSON"),
        ('{"prompt": "a", "id": 1e999}', r"Line 1: Invalid JSON \(number is infinity"),
        ('{"prompt": "a", "id": ' + "9" * 5000 + "}", r"Line 1: Invalid JSON \(number is infinity"),
        ('{"prompt": "\\ud800"}', r"Line 1: Invalid JSON \(.*surrogate"),
        ('"a"\n[["b"]]', "Line 2: Expected a text"),
        ('{"prompt": {"a": 1}}', "Line 1: Expected a text"),
        ('{"prompt": 3}', "Line 1: Expected a text under one of prompt, question"),
        ('{"other": "x"}', "Line 1: Expected a text"),
        ("a\nb\nc\nd", "4 prompts are too many: at most 3"),
        ("prompt,id\n" + "x" * 140_000, "Line 1: Invalid CSV"),
        ("\n\nprompt,id\n1,2\n" + "x" * 140_000, "Line 4: Invalid CSV"),
        ("prompt\nOne\nTwo, three", r"Line 3: Invalid CSV \(more values than headings"),
        ("ok\n" + "x" * 200_001, "Line 2: 200,001 characters"),
    ],
)
def test_prompts_that_do_not_fit_are_refused(text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        parse_prompts(text, 3)


def test_as_many_prompts_as_are_taken_are_taken() -> None:
    assert parse_prompts("a\nb\nc", 3) == ["a", "b", "c"]
    assert list(map(len, parse_prompts(f"{'a' * 200_000}\n" * 2, 2))) == [200_000] * 2
