"""Questions from files, good and bad."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gac_app.errors import RequestError
from gac_app.evaluation.tasks.questions import Question, first_of_each_domain, parse_questions, read_questions


def _file(folder: Path, *lines: str) -> Path:
    path = folder / "questions.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_both_forms_are_read(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        '{"id": "x", "question": "2 + 2?", "answers": [4], "task": "sums", "more": 1}',
        "",
        '{"question": "Up or\\u2028down?", "choices": ["up", "down"], "answer": 0, "domain": "ways"}',
    )
    first, second = read_questions(path)
    assert (first.id, first.answers, first.domain, first.is_choice) == ("x", ("4",), "sums", False)
    assert (second.id, second.choices, second.domain, second.is_choice) == ("line-3", ("up", "down"), "ways", True)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1: Invalid JSON"),
        ('["q"]', "line 1: "),
        ('{"answers": ["4"]}', "line 1: question: Field required"),
        ('{"question": "q"}', "line 1: Expected 'answers', or 'choices'"),
        ('{"question": "q", "choices": ["x"], "answer": 1}', "line 1: Expected"),
        ('{"question": "q", "choices": ["x"], "answer": "first"}', "line 1: answer"),
        (
            '{"id": 1, "question": "q", "answers": ["x"]}\n{"id": 1, "question": "r", "answers": ["x"]}',
            "duplicate id '1'",
        ),
        ("", "no questions"),
    ],
)
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
        "id,question,choices,answer,answers,solution,subject\n"
        "1,Up?,up | down|,down,,,ways\n"
        ",Left?,left|right,0,,,\n"
        "3,2+2?,,,4|four,2+2=4.,\n"
        "\n"
        ",Capital?,,Rome,,,\n"
    )
    first, second, third, fourth = parse_questions(text, "own")
    assert first == Question(id="1", question="Up?", choices=("up", "down"), answer=1, domain="ways")
    assert (second.id, second.choices, second.answer, second.domain) == ("line-3", ("left", "right"), 0, "")
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
        ("question,answer\nOne?,1\nTwo?,\n", "own: Line 3: Expected 'answers'"),
        ("question,choices,answer\nOne?,a|b,2\n", "own: Line 2: Expected"),
        ("prompt\nOne?", "own: Line 1: Invalid JSON"),
        ("id,question,answer\n7,One?,1\n7,Two?,2\n", "own: duplicate id '7'"),
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
