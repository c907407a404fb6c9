from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac_app.errors import NotFoundError, RequestError, StorageError
from gac_app.ui.requests import Fields, Reply, replying

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


@given(JSON, JSON, JSON)
def test_whatever_is_sent_the_answer_is_a_reply(key: Any, run: Any, position: Any) -> None:
    reply = reads_everything({"key": key, "run": run, "position": position})
    assert set(reply) == {"error"}  # hypothesis never draws a key of 64 hexadecimal digits


@pytest.mark.parametrize("data", [None, [], "text", 3])
def test_a_request_is_an_object(data: object) -> None:
    assert reads_everything(data) == {"error": "request: expected an object"}


@pytest.mark.parametrize("value", [True, -1, 1.0, "1", None, 2**60])
def test_numbers_are_whole_and_not_negative(value: object) -> None:
    with pytest.raises(RequestError, match="position"):
        Fields({"position": value}).number("position")


def test_long_text_is_refused() -> None:
    with pytest.raises(RequestError, match="at most 200"):
        Fields({"run": "x" * 201}).text("run")


@pytest.mark.parametrize("key", ["", "A" * 64, "0" * 63, "0" * 64 + "\n", None])
def test_a_visitor_key_is_64_hexadecimal_digits(key: object) -> None:
    with pytest.raises(RequestError, match="reload the page"):
        _ = Fields({"key": key}).visitor_key


def test_only_errors_raised_on_purpose_become_words() -> None:
    @replying
    def not_found(fields: Fields) -> Reply:
        raise NotFoundError("there is no such run")

    @replying
    def broken(fields: Fields) -> Reply:
        raise ZeroDivisionError

    assert not_found({}) == {"error": "there is no such run"}
    with pytest.raises(ZeroDivisionError):
        broken({})


def test_no_error_tells_a_folder() -> None:
    @replying
    def fails(fields: Fields) -> Reply:
        raise StorageError("the database /home/me/gac.db is away; see https://example.org/help or hub:org/name")

    assert fails({}) == {"error": "the database gac.db is away; see https://example.org/help or hub:org/name"}
