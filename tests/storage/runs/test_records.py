"""Values of runs: what a stream is fed, and what a filter of the history lets through."""

from __future__ import annotations

import pytest

from gac_app.models.message import Message
from gac_app.storage import Turn, fed_messages

TURNS = (
    Turn("r0", "One?", {"ensemble": "all", "member:a": "mine"}),
    Turn("r1", "Two?", {"ensemble": "all again"}),
    Turn("r2", "Lost?", {}),  # interrupted
    Turn("r3", "Three?", {"member:a": ""}),
)


@pytest.mark.parametrize(
    ("stream", "answers"),
    [
        ("ensemble", [("One?", "all"), ("Two?", "all again")]),
        ("member:a", [("One?", "mine"), ("Two?", "all again"), ("Three?", "")]),
        ("member:b", [("One?", "all"), ("Two?", "all again")]),
    ],
)
def test_a_stream_goes_on_from_its_own_answers(stream: str, answers: list[tuple[str, str]]) -> None:
    before = [
        message for prompt, answer in answers for message in (Message("user", prompt), Message("assistant", answer))
    ]
    assert fed_messages(stream, "Now?", "", TURNS) == (*before, Message("user", "Now?"))
    assert fed_messages(stream, "Now?", "Be brief.", ()) == (Message("system", "Be brief."), Message("user", "Now?"))
