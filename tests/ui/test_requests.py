from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac_app.errors import RequestError, StorageError
from gac_app.ui.requests import Fields, Reply, Threads, page_json, page_line, replying
from gac_app.ui.streaming import start_and_follow
from tests.fakes import WAIT_S

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@replying
def reads_everything(fields: Fields) -> Reply:
    return {"key": fields.visitor_key, "run": fields.text("run"), "position": fields.number("position")}


def test_good_fields_are_read() -> None:
    sent = {"key": "0" * 64, "run": "r", "position": 3}
    assert reads_everything(sent) == sent
    for data in (None, [], "text", 3):
        assert reads_everything(data) == {"error": "Request: expected an object"}


@given(JSON, JSON, JSON)
def test_whatever_is_sent_the_answer_is_a_reply(key: Any, run: Any, position: Any) -> None:
    reply = reads_everything({"key": key, "run": run, "position": position})
    assert set(reply) == {"error"}  # hypothesis never draws a key of 64 hexadecimal digits


LONG, ZONED = "x" * 201, datetime(2026, 1, 1, 11, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ask", "good", "bad", "error"),
    [
        (Fields.number, {0: 0, 2**53 - 1: 2**53 - 1}, [True, -1, 1.0, "1", None, 2**60], "whole number of at least 0"),
        (Fields.text, {"x" * 200: "x" * 200}, [None, 3, ["x"], b"x", True], "at: expected text"),
        (Fields.text, {}, [LONG], "at most 200"),
        (lambda fields, name: fields.text(name, 2), {"xy": "xy"}, ["xyz"], "too many: at most 2"),
        (Fields.flag, {True: True, False: False}, [None, 0, 1, "true"], "at: expected true or false"),
        (lambda fields, name: fields.choice(name, ("", "a", "b")), {"": "", "a": "a"}, ["c"], "one of , a, b"),
        (Fields.time, {"": None, "2026-01-01T12:00:00+01:00": ZONED, "2026-01-01T11:00:00Z": ZONED},
         ["2026-01-01T12:00:00", "tomorrow", "0001-01-01T00:00:00+23:00"], "expected a date and time with its zone"),
        (lambda fields, name: fields.texts(name, 3), {}, [None, "xy", {"x": 1}, ("x",), ["x", 3], [LONG], [None]],
         "at: expected a list of texts"),
        (lambda fields, name: fields.texts(name, 3), {}, [["a", "b", "c", "d"]], "at: expected at most 3"),
    ],
)  # fmt: skip
def test_fields_have_types(ask: Callable[[Fields, str], Any], good: dict[Any, Any], bad: list[Any], error: str) -> None:
    for value, read in good.items():
        assert ask(Fields({"at": value}), "at") == read
    for value in bad:
        with pytest.raises(RequestError, match=error):
            ask(Fields({"at": value}), "at")


@pytest.mark.parametrize("key", ["", "A" * 64, "0" * 63, "0" * 64 + "\n", None])
def test_a_visitor_key_is_64_hexadecimal_digits(key: object) -> None:
    with pytest.raises(RequestError, match="reload it"):
        _ = Fields({"key": key}).visitor_key


def test_errors_raised_on_purpose_become_words_without_folders() -> None:
    def reply(error: Exception | None) -> Reply:
        def fails(fields: Fields) -> None:
            if error:
                raise error

        return replying(fails)({})

    assert reply(None) == {}
    assert reply(StorageError("/home/me/gac.db is away; see https://example.org/help or hub:org/name")) == {
        "error": "gac.db is away; see https://example.org/help or hub:org/name"
    }
    with pytest.raises(ZeroDivisionError):
        reply(ZeroDivisionError())


def test_markup_is_none_in_a_value_of_the_page() -> None:
    assert page_json({"a": "<b>"}) == '{"a": "\\u003cb>"}'
    assert json.loads(page_line(["<é>", 1])) == ["<é>", 1]
    assert page_line("<").endswith('\\u003c"\n')


@pytest.mark.anyio
async def test_who_leaves_while_it_begins_follows_no_more() -> None:
    begins, may_begin, has_left, told = threading.Event(), threading.Event(), threading.Event(), list[str]()

    def start() -> str:
        begins.set()
        may_begin.wait(WAIT_S)
        return "run"

    @contextmanager
    def follow(found: str) -> Iterator[None]:
        told.append(f"follows {found}")
        yield
        told.append("has left")
        has_left.set()

    async def page() -> None:
        async with start_and_follow(Threads(), start, follow):
            raise AssertionError("it has left")

    opened = asyncio.create_task(page())
    await asyncio.to_thread(begins.wait, WAIT_S)
    opened.cancel()
    with suppress(asyncio.CancelledError):
        await opened
    may_begin.set()
    await asyncio.to_thread(has_left.wait, WAIT_S)
    assert told == ["follows run", "has left"]
