from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac_app.errors import NotFoundError, RequestError, StorageError
from gac_app.ui.requests import Fields, Reply, page_json, page_line, replying

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


@pytest.mark.parametrize("value", [None, 3, ["x"], b"x", True])
def test_a_text_is_a_text(value: object) -> None:
    for ask in (Fields({"run": value}).text, Fields({"run": [value, "x"]}).text):
        with pytest.raises(RequestError, match="run: expected text"):
            ask("run")
    assert Fields({"run": "x" * 200}).text("run") == "x" * 200
    assert Fields({"run": "xy"}).text("run", 2) == "xy"


@pytest.mark.parametrize("value", [None, "xy", {"x": 1}, ("x",), ["x", 3], ["x" * 201], [None]])
def test_ids_are_a_list_of_texts(value: object) -> None:
    with pytest.raises(RequestError, match="runs: expected a list of texts"):
        Fields({"runs": value}).texts("runs", 3)


def test_ids_are_taken_once_and_so_many() -> None:
    assert Fields({"runs": ["b", "a", "b"]}).texts("runs", 3) == ["b", "a"]
    assert Fields({"runs": ["x" * 200]}).texts("runs", 1) == ["x" * 200]
    with pytest.raises(RequestError, match="runs: expected at most 3"):
        Fields({"runs": ["a", "b", "c", "d"]}).texts("runs", 3)


@pytest.mark.parametrize("value", [None, 0, 1, "true"])
def test_a_flag_is_true_or_false(value: object) -> None:
    with pytest.raises(RequestError, match="starred: expected true or false"):
        Fields({"starred": value}).flag("starred")
    assert [Fields({"starred": flag}).flag("starred") for flag in (True, False)] == [True, False]


def test_a_choice_is_one_of_those_offered() -> None:
    assert Fields({"sort": ""}).choice("sort", ("", "new")) == ""
    with pytest.raises(RequestError, match="sort: expected one of new, old"):
        Fields({"sort": "newer"}).choice("sort", ("new", "old"))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("", None),
        ("2026-01-01T12:00:00+01:00", datetime(2026, 1, 1, 11, tzinfo=UTC)),
        ("2026-01-01T12:00:00Z", datetime(2026, 1, 1, 12, tzinfo=UTC)),
    ],
)
def test_a_time_has_its_zone(text: str, moment: datetime | None) -> None:
    assert Fields({"since": text}).time("since") == moment
    for wrong in ("2026-01-01T12:00:00", "tomorrow", "0001-01-01T00:00:00+23:00"):
        with pytest.raises(RequestError, match="since: expected a date and time with its zone"):
            Fields({"since": wrong}).time("since")


def test_numbers_have_two_ends() -> None:
    assert [Fields({"at": value}).number("at") for value in (0, 2**53 - 1)] == [0, 2**53 - 1]


def test_markup_is_none_in_a_value_of_the_page() -> None:
    assert page_json({"a": "<b>"}) == '{"a": "\\u003cb>"}'
    assert json.loads(page_line(["<é>", 1])) == ["<é>", 1]
    assert page_line("<").endswith('\\u003c"\n')


def test_a_function_that_returns_nothing_has_an_empty_reply() -> None:
    assert replying(lambda fields: None)({}) == {}
