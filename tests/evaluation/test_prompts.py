"""Prompts from what people paste."""

from __future__ import annotations

import pytest

from gac_app.errors import RequestError
from gac_app.evaluation.tasks.prompts import parse_prompts


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ("One?\n\n  Two, three?  \n", ["One?", "Two, three?"]),
        ('{"prompt": "One?\\nMore"}\n{"question": "Two?", "id": 3}\n"Three?"', ["One?\nMore", "Two?", "Three?"]),
        ('id,prompt\n1,"One, two\nthree?"\n2,\n3,Four?\n', ["One, two\nthree?", "Four?"]),
        ("prompt\nOne?\nTwo?", ["One?", "Two?"]),
        ("مرحبا؟\n日本語？", ["مرحبا؟", "日本語？"]),
        ("Which, of these?\nAnd that?", ["Which, of these?", "And that?"]),
    ],
)
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
        ("x" * 250_001, "250,001 characters"),
        ("ok\n" + "x" * 200_001, "Line 2: 200,001 characters"),
    ],
)
def test_what_does_not_fit_is_refused(text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        parse_prompts(text, 3)


def test_as_many_prompts_as_are_taken_are_taken() -> None:
    assert parse_prompts("a\nb\nc", 3) == ["a", "b", "c"]
    assert len(parse_prompts("a" * 200_000, 1)[0]) == 200_000
