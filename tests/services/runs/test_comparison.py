"""An answer beside the one before: equal, parted at a token, or of other probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from gac_app.decoding.trace.events import FinishedEvent, FinishReason, StepOutline, TokenEvent
from gac_app.decoding.trace.serialise import outline_from_json, outline_to_json
from gac_app.models.message import Message
from gac_app.services.runs.comparison import Comparison, compare, compare_streams
from gac_app.services.runs.views import StreamView
from tests.ui.planted import planted_step

PIECES = ("The", " sky", " is", " blue", "")


def events(pieces: Sequence[str] = PIECES) -> list[TokenEvent]:
    return [TokenEvent(piece, planted_step(position, piece)) for position, piece in enumerate(pieces)]


def said(pieces: Sequence[str] = PIECES) -> list[StepOutline]:
    return list(map(StepOutline.of, events(pieces)))


def moved(steps: list[StepOutline], position: int, **by: float) -> list[StepOutline]:
    """The same with other probabilities at one position."""
    step = steps[position]
    changed = step._replace(**{name: getattr(step, name) + amount for name, amount in by.items()})
    return [*steps[:position], changed, *steps[position + 1 :]]


def stored(steps: list[StepOutline]) -> list[StepOutline]:
    return [outline_from_json(outline_to_json(step)) for step in steps]


@pytest.mark.parametrize("digests", [("1f", "2e"), ("", "2e"), ("1f", ""), ("", "")])
def test_the_first_other_token_is_told(digests: tuple[str, str]) -> None:
    found = compare(said(), said(("The", " sky", " was", " grey", "")), *digests)

    assert (found.num_same, found.tokens, found.probs_from) == (2, (b" is", b" was"), None)
    assert found.digests == ("different" if all(digests) else "unknown")


@pytest.mark.parametrize("num", [1, 4])
def test_an_answer_that_ended_sooner_has_no_more_tokens(num: int) -> None:
    next_token = PIECES[num].encode()
    assert compare(said(), said(PIECES[:num]), "1f", "2e").tokens == (next_token, None)
    assert compare(said(PIECES[:num]), said(), "1f", "2e").tokens == (None, next_token)


def test_other_probabilities_are_told_with_place_and_size() -> None:
    now = moved(moved(said(), 3, prob=0.0003), 4, gate_confidence=-0.0001)

    found = compare(said(), now, "1f", "2e")

    assert (found.num_same, found.tokens, found.probs_from) == (5, None, 3)
    assert found.most == pytest.approx(0.0003)


def test_probabilities_before_another_token_are_told_too() -> None:
    found = compare(said(), moved(said(("The", " sky", " was")), 1, prob=0.01), "1f", "2e")
    assert (found.num_same, found.probs_from) == (2, 1)
    assert found.most == pytest.approx(0.01)


@pytest.mark.parametrize("digest", ["1f", ""])
def test_digits_that_storage_drops_are_no_difference(digest: str) -> None:
    live = moved(said(), 2, prob=1e-9)
    for before, now in ((stored(live), live), (live, stored(live)), (stored(live), said())):
        assert compare(before, now, digest, "2e") == Comparison("different" if digest else "unknown", len(PIECES))


def test_another_confidence_of_the_gate_counts() -> None:
    found = compare(said(), moved(said(), 1, gate_confidence=0.25), "1f", "2e")
    assert (found.probs_from, found.most) == (1, 0.25)


def stream(
    tokens: Sequence[TokenEvent], digest: str = "1f", prompt: str = "Why?", *, is_over: bool = True
) -> StreamView:
    end = FinishedEvent(FinishReason.STOP, "", len(tokens), 0, 0.0, 0.0, {}, digest=digest)
    return StreamView("a", (Message("user", prompt),), [*tokens, end] if is_over else list(tokens))


def test_streams_are_compared_once_both_are_over() -> None:
    assert compare_streams(stream(events()), stream(events())) == Comparison("equal", len(PIECES))
    assert compare_streams(stream(events(), is_over=False), stream(events())) is None
    assert compare_streams(stream(events()), stream(events(), is_over=False)) is None


def test_without_tokens_or_same_messages_nothing_is_compared() -> None:
    assert compare_streams(stream([], ""), stream(events())) is None
    assert compare_streams(stream(events()), stream([])) is None
    assert compare_streams(stream(events()), stream(events(), prompt="Why not?")) is None


class Unread(Sequence[Any]):
    """Events or steps that nobody may look at."""

    def __len__(self) -> int:
        raise AssertionError("looked at")

    __getitem__ = __len__  # type: ignore[assignment]


@pytest.mark.parametrize(("digest", "digests"), [("1f", "equal"), ("2e", "different")])
def test_stored_answers_are_compared_without_their_steps(digest: str, digests: str) -> None:
    """Equal digests settle it; if they differ, outlines are enough."""
    before, now = stream(events()), stream(events(), digest)
    end = before.finished
    assert end is not None
    before.events, before.stored = Unread(), (end, Unread() if digests == "equal" else stored(said()))
    assert compare_streams(before, now) == Comparison(digests, len(PIECES))  # type: ignore[arg-type]


@pytest.mark.parametrize("num", [0, 1])
def test_answers_that_part_at_once_have_nothing_in_common(num: int) -> None:
    assert compare([], said()[:num], "", "2e") == Comparison("unknown", 0, (None, b"The") if num else None, None, 0.0)
