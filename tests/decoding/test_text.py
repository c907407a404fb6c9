"""Text may be shown: whole characters, and never half a stop string."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from gac_app.decoding.loop.text import TextStream
from gac_app.decoding.trace.events import StepTrace, TokenEvent


def step(token: bytes) -> StepTrace:
    return StepTrace(0, 0, token, 1.0, (), 1.0, False, "m", ())


def stream(tokens: list[bytes], stops: tuple[str, ...] = ()) -> tuple[TextStream, list[list[TokenEvent]]]:
    text = TextStream(stops)
    batches = []
    for index, token in enumerate(tokens):
        text.take(token, is_last=index == len(tokens) - 1)
        batches.append(text.show(step(token)))
        if text.is_stopped:
            break
    return text, batches


def cut(data: bytes, at: list[int]) -> list[bytes]:
    bounds = [0, *sorted(i % (len(data) + 1) for i in at), len(data)]
    return [data[a:b] for a, b in pairwise(bounds)]


@given(data=st.binary(max_size=40), at=st.lists(st.integers(0, 100), max_size=8))
def test_pieces_of_any_bytes_decode_as_the_whole_does(data: bytes, at: list[int]) -> None:
    text, batches = stream(cut(data, at))
    assert text.text == data.decode("utf-8", "replace")
    assert "".join(event.text for batch in batches for event in batch) == text.text


@given(
    text=st.text("abE\né日", max_size=24),
    at=st.lists(st.integers(0, 100), max_size=10),
    stops=st.lists(st.text("abE\né", min_size=1, max_size=4), max_size=3),
)
@example(text="aab", at=[1, 2], stops=["aab"])  # it begins anew within itself
@example(text="abE", at=[], stops=["E", "b"])  # one token completes both
def test_a_stop_string_ends_the_text_and_no_part_of_it_is_shown(text: str, at: list[int], stops: list[str]) -> None:
    found = [text.find(stop) for stop in stops if stop in text]
    result, batches = stream(cut(text.encode(), at), tuple(stops))
    shown = ""
    for batch in batches:
        shown += "".join(event.text for event in batch)
        # The first to be completed wins; nothing that belongs to it was ever on the screen, and no half character.
        assert text.startswith(shown)
        assert not any(stop in shown for stop in stops)
    assert result.is_stopped == bool(found)
    if not found:
        assert result.text == text
    events = [event for batch in batches for event in batch]
    assert "".join(event.text for event in events) == result.text


def test_events_are_held_only_while_undecided() -> None:
    _, batches = stream([b"a", b"\n", b"Us", b"e a", b"b"], ("\nUser:",))
    assert [[event.text for event in batch] for batch in batches] == [["a"], [], [], ["\n", "Us", "e a"], ["b"]]


def test_cut_events_keep_their_steps() -> None:
    _, batches = stream([b"a", b"b\nUs", b"er:", b"c"], ("\nUser:",))
    assert [[event.text for event in batch] for batch in batches] == [["a"], [], ["b", ""]]


def test_endless_invalid_bytes_need_no_memory() -> None:
    text = TextStream(("\nUser:",))
    for _ in range(1000):
        text.take(b"\xf0")
        text.show(step(b"\xf0"))
        assert len(text._held) <= 1
