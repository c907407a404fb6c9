"""What counts as indented in one way, worked by hand."""

from __future__ import annotations

import pytest

from gac_app.evaluation.suites.code import INDENTATION_CHECKS, data_indents, python_indents
from gac_app.evaluation.suites.texts import held_out, prompts


@pytest.mark.parametrize(
    "text",
    [
        "def f(n):\n    if n:\n        return 1\n    return 2\n",
        "def f(n):\n  if n:\n    return 1\n  return 2\n",
        "def f(n):\n\tif n:\n\t\treturn 1\n",
        "x = f(1,\n      2)\nif x:\n    y = 1\n",  # inside brackets
        'def f():\n    """Doc.\n\n      deeper\n    """\n    return 1\n',  # inside a string
        "def f():\n    x = 1\n  # a comment\n    return x\n",
        "def f():\n    x = 1\n   return",  # the line is not complete
        "def f():\n    x = [\n   1,\n",
        "",
    ],
)
def test_python_indented_in_one_way(text: str) -> None:
    assert python_indents(text)


@pytest.mark.parametrize(
    "text",
    [
        "def f(n):\n    if n <= 1:\n         return n\n",  # nine spaces, unit four
        "def f(n):\n    x = 1\n  return x\n",  # no open level
        "def f(n):\n    x = 1\ndef g(n):\n\tx = 1\n",
        "def f(n):\n        if n:\n            return 1\n",  # the unit is eight
        "def f(n):\n  \tx = 1\n",
    ],
)
def test_python_indented_in_several_ways(text: str) -> None:
    assert not python_indents(text)


def test_data_indents_by_every_line() -> None:
    assert data_indents('{\n  "a": [\n    1\n  ]\n}\n')
    assert data_indents("a:\n  - b: 1\n    c: 2\n\n  - d: 3\n")
    assert not data_indents('{\n  "a": [\n    1\n   ]\n}\n')
    assert not data_indents("a:\n    b:\n            c: 1\n        d: 2\n")  # eight is no open level
    assert not data_indents("a:\n  b: 1\nc:\n\td: 2\n")


@pytest.mark.parametrize("kind", INDENTATION_CHECKS)
def test_prompts_and_passages_are_indented_in_one_way(kind: str) -> None:
    texts = [*prompts()[kind], *(passage.prompt + passage.continuation for passage in held_out().get(kind, ()))]
    assert [text for text in texts if not INDENTATION_CHECKS[kind](text)] == []
