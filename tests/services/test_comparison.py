"""An answer beside the one before: equal, parted at a token, or of other probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from gac_app.decoding.trace.events import Candidate, FinishedEvent, FinishReason, TokenEvent
from gac_app.decoding.trace.serialise import token_from_json, token_to_json
from gac_app.models.message import Message
from gac_app.services.comparison import Comparison, compare, compare_streams
from gac_app.services.views import StreamView
from tests.ui.planted import planted_step

PIECES = ("The", " sky", " is", " blue", "")


def said(pieces: Sequence[str] = PIECES) -> list[TokenEvent]:
    return [TokenEvent(piece, planted_step(position, piece)) for position, piece in enumerate(pieces)]


def moved(events: list[TokenEvent], position: int, by: float) -> list[TokenEvent]:
    """The same with another probability at one position."""
    event = events[position]
    step = replace(event.step, prob=event.step.prob + by)
    return [*events[:position], replace(event, step=step), *events[position + 1 :]]


def stored(events: list[TokenEvent]) -> list[TokenEvent]:
    return [token_from_json(token_to_json(event)) for event in events]


def test_equal_digests_settle_it() -> None:
    assert compare(said(), said(), "1f", "1f") == Comparison("equal", len(PIECES))


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
    now = moved(moved(said(), 3, by=0.0003), 4, by=-0.0001)

    found = compare(said(), now, "1f", "2e")

    assert (found.num_same, found.tokens, found.probs_from) == (5, None, 3)
    assert found.most == pytest.approx(0.0003)


def test_probabilities_before_another_token_are_told_too() -> None:
    found = compare(said(), moved(said(("The", " sky", " was")), 1, by=0.01), "1f", "2e")
    assert (found.num_same, found.probs_from) == (2, 1)
    assert found.most == pytest.approx(0.01)


@pytest.mark.parametrize("digest", ["1f", ""])
def test_digits_that_storage_drops_are_no_difference(digest: str) -> None:
    live = moved(said(), 2, by=1e-9)
    for before, now in ((stored(live), live), (live, stored(live)), (stored(live), said())):
        assert compare(before, now, digest, "2e") == Comparison("different" if digest else "unknown", len(PIECES))


@pytest.mark.parametrize("where", ["top", "members"])
def test_what_members_and_alternatives_say_counts(where: str) -> None:
    before, now = said(), said()
    step = now[1].step
    if where == "top":
        step = replace(step, top=(step.top[0], Candidate(8, b" other", 0.2)))
    else:
        step = replace(step, members=(replace(step.members[0], weight=0.75), *step.members[1:]))
    now[1] = replace(now[1], step=step)

    found = compare(before, now, "1f", "2e")

    assert (found.probs_from, found.most) == (1, 0.25 if where == "members" else 0.0)


def test_alternatives_that_change_places_are_no_difference() -> None:
    now = said()
    now[1] = replace(now[1], step=replace(now[1].step, top=now[1].step.top[::-1]))
    assert compare(said(), now, "1f", "2e").probs_from is None


def stream(
    events: Sequence[TokenEvent], digest: str = "1f", prompt: str = "Why?", *, is_over: bool = True
) -> StreamView:
    end = FinishedEvent(FinishReason.STOP, "", len(events), 0, 0.0, 0.0, {}, digest=digest)
    return StreamView("a", (Message("user", prompt),), [*events, end] if is_over else list(events))


def test_streams_are_compared_once_both_are_over() -> None:
    assert compare_streams(stream(said()), stream(said())) == Comparison("equal", len(PIECES))
    assert compare_streams(stream(said(), is_over=False), stream(said())) is None
    assert compare_streams(stream(said()), stream(said(), is_over=False)) is None


def test_without_tokens_or_same_messages_nothing_is_compared() -> None:
    assert compare_streams(stream([], ""), stream(said())) is None
    assert compare_streams(stream(said()), stream([])) is None
    assert compare_streams(stream(said()), stream(said(), prompt="Why not?")) is None
