"""A visitor's own questions, before a study begins."""

from __future__ import annotations

import json

import pytest

from gac_app.errors import RequestError
from gac_app.services.lab.studies import OWN, STUDIES, own_questions

CHOICE = '{"question": "Up?", "choices": ["up", "down"], "answer": 0}'
WRITTEN = '{"question": "2+2?", "answers": ["4"]}'
ANY = next(study for study in STUDIES if study.needs == "any")


@pytest.mark.parametrize(("text", "kind"), [(f"{CHOICE}\n{CHOICE}", "choice"), (WRITTEN, "generation")])
def test_questions_have_the_protocol_of_their_kind(text: str, kind: str) -> None:
    found = own_questions(ANY, text)
    assert (found.name, found.task.name, found.task.kind) == (OWN, OWN, kind)
    assert len(found.questions) == len(text.splitlines())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{CHOICE}\n{WRITTEN}", "line-1: .* needs 'answers'"),
        (json.dumps({"question": "?", "choices": list(map(str, range(27))), "answer": 0}), "has more than 26 choices"),
    ],
)
def test_questions_that_fit_no_protocol_are_refused(text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        own_questions(ANY, text)
