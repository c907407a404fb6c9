"""What counts as code that parses as far as it goes, worked by hand."""

from __future__ import annotations

import pytest

from gac_app.evaluation.suites.code import (
    PARSERS,
    complete_lines,
    json_parses,
    markdown_parses,
    python_parses,
    yaml_parses,
)
from gac_app.evaluation.suites.texts import CODE_KINDS, prompts


def test_complete_lines_cut_what_follows_the_last_line_end() -> None:
    assert complete_lines("a\nb") == "a\n"
    assert complete_lines("a\nb\n") == "a\nb\n"
    assert complete_lines("a") == ""


@pytest.mark.parametrize(
    "text",
    [
        "def f(n):\n",  # the block is to come
        "def f(n):\n    if n <= 1:\n         return n\n",  # nine spaces are a level of their own
        "try:\n    x = 1\n",  # `except` is to come
        "x = [1,\n",
        "def f():\n    '''doc\n    more\n",
        "x = 1\ny = = 2",  # the wrong line is not complete
        "class A:\n    @property\n",
        "path = '\\d'\n",  # a warning is no error
        "",
    ],
)
def test_python_that_parses(text: str) -> None:
    assert python_parses(text)


@pytest.mark.parametrize(
    "text",
    [
        "x = = 1\n",
        "def f():\n    x = 1\n   return x\n",
        "def f():\nreturn 1\n",
        "def f():\n    return 1\n\nThis function returns one.\n",
        "x = 'abc\ny = 2\n",
        "f(1))\n",
        "if x:\n\ty = 1\n        z = 2\n",
        "x = '\0'\n",
        "(" * 1000 + "\n",
    ],
)
def test_python_that_does_not(text: str) -> None:
    assert not python_parses(text)


@pytest.mark.parametrize(
    "text",
    [
        '{\n  "a": {\n',
        '{\n  "a": 1,\n',
        '{\n  "a":\n',
        '{\n  "a"\n',
        '[\n  1,\n  {"b": "]}"},\n',
        '{"a": [1, 2]}\n',
        '{"a": "\\"}"}\n',
        '{"a": 1}\n{"wrong": ',
    ],
)
def test_json_that_parses(text: str) -> None:
    assert json_parses(text)


@pytest.mark.parametrize(
    "text",
    ['{\n  "a": 1\n  "b": 2\n', "{\n  a: 1,\n", '{"a": 1,\n}\n', '{"a": "x\n', "[1]]\n", "{}\n{}\n", "[" * 9999 + "\n"],
)
def test_json_that_does_not(text: str) -> None:
    assert not json_parses(text)


@pytest.mark.parametrize(
    "text", ["a: 1\nb:\n", "a:\n  - 1\n  - 2\n", "a: [1,\n", 'a: "one\n  two\n', "a: 1\n---\nb: 2\n", "a: 1\nb c"]
)
def test_yaml_that_parses(text: str) -> None:
    assert yaml_parses(text)


@pytest.mark.parametrize("text", ["a: 1\nb\n", "a:\n  b: 1\n c: 2\n", "a:\n\tb: 1\n", "a: b: c\n", "a: *nobody\n"])
def test_yaml_that_does_not(text: str) -> None:
    assert not yaml_parses(text)


@pytest.mark.parametrize(
    "text",
    [
        "# Title\n\n```python\nx = 1\n",
        "```\na\n```\n\n```\nb\n```\n",
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n| c |\n|---|\n",
        "```\n| a | b |\n| 1 |\n```\n",  # no table
        "| a \\| b | c |\n|---|---|\n",
    ],
)
def test_markdown_that_holds_together(text: str) -> None:
    assert markdown_parses(text)


@pytest.mark.parametrize("text", ["```\na\n```bash\nb\n```\n", "| a | b |\n|---|---|\n| 1 | 2 | 3 |\n"])
def test_markdown_that_does_not(text: str) -> None:
    assert not markdown_parses(text)


@pytest.mark.parametrize("kind", CODE_KINDS)
def test_every_prompt_begins_a_right_document(kind: str) -> None:
    assert [text for text in prompts()[kind] if not PARSERS[kind](text)] == []
