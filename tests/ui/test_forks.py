from __future__ import annotations

import pytest

from gac_app.decoding.trace.events import Event, FinishedEvent, FinishReason, TokenEvent
from gac_app.ui.forks import Fork, GrowingText
from tests.ui.steps import step

FINISHED = FinishedEvent(FinishReason.LENGTH, "", 0, 0, 0.0, 0.0, {})


def events(*pieces: str) -> list[Event]:
    """Tokens; "" is END, a bar at the end stands for an answer that ended without it."""
    return [FINISHED if p == "|" else TokenEvent(p, step(i, p.encode())) for i, p in enumerate(pieces)]


@pytest.mark.parametrize(
    ("own", "ensemble", "position"),
    [
        (["Paris", " was"], ["Paris", " is"], 1),
        ([" Paris", " is"], ["Paris", " is"], None),  # one begins with a space
        ([" ", "\n", "Paris", " was"], ["Paris", " is"], 3),
        (["Par", "is", " is"], ["Paris", " ", "is"], None),  # the same text, cut otherwise
        (["Par", "is", " is"], ["Pa", "ris was"], 2),
        (["Paris", ""], ["Paris", " is"], 1),  # ended where the ensemble goes on
        (["Paris", " is"], ["Paris", ""], 1),
        (["Paris", "|"], ["Paris", " is"], None),  # was cut off there
        (["Paris", ""], ["Paris", ""], None),
        (["Paris"], [], None),
        ([], [], None),
        (["日"], ["本"], 0),
    ],
)
def test_where_texts_part(own: list[str], ensemble: list[str], position: int | None) -> None:
    texts = GrowingText(), GrowingText()
    texts[0].extend(events(*own))
    texts[1].extend(events(*ensemble))
    assert Fork().find(*texts) == position


def test_texts_that_grow_token_by_token_part_at_the_same_place() -> None:
    own, ensemble, fork = GrowingText(), GrowingText(), Fork()
    pairs = zip(events(" a", "b", "c", "d"), events("ab", "c", "x", "y"), strict=True)
    found = []
    for mine, theirs in pairs:
        own.extend([mine])
        ensemble.extend([theirs])
        found.append(fork.find(own, ensemble))
    assert found[:2] == [None, None]
    assert found[-1] == 3
