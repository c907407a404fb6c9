from __future__ import annotations

import pytest

from gac_app.decoding.trace.events import StepOutline, TokenEvent
from gac_app.ui.compare.forks import Fork, GrowingText, forks_of
from tests.ui.steps import step


def steps(*pieces: str) -> list[StepOutline]:
    """Tokens; "" is END, which an answer that was cut off lacks."""
    return [StepOutline.of(TokenEvent(piece, step(at, piece.encode()))) for at, piece in enumerate(pieces)]


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
        (["Paris"], ["Paris", " is"], None),  # was cut off there
        (["Paris", ""], ["Paris", ""], None),
        (["Paris"], [], None),
        ([], [], None),
        (["日"], ["本"], 0),
    ],
)
def test_where_texts_part(own: list[str], ensemble: list[str], position: int | None) -> None:
    texts = GrowingText(), GrowingText()
    texts[0].extend(steps(*own))
    texts[1].extend(steps(*ensemble))
    assert Fork().find(*texts) == position


@pytest.mark.parametrize("piece", [1, 2, 100])
def test_whole_streams_are_compared_piece_by_piece(piece: int) -> None:
    ensemble = steps("Paris", " is", " a", " town", "")
    others = [steps("Paris", " is", " the"), ensemble, steps("Pa", "ris"), steps("Rome"), steps("Paris", ""), []]
    assert forks_of([ensemble, *others], piece) == {1: 2, 4: 0, 5: 1}
