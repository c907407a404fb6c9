from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac_app.ui.settings.stop_lines import from_lines, to_lines


@given(st.lists(st.text(min_size=1)))
def test_any_stop_strings_come_back(stop: list[str]) -> None:
    assert from_lines(to_lines(tuple(stop))) == tuple(stop)


@pytest.mark.parametrize(
    ("lines", "stop"),
    [
        ("", ()),
        ("END\n\n###\n", ("END", "###")),
        ("\\n\\n", ("\n\n",)),
        ("C:\\dir\\\\n", ("C:\\dir\\n",)),  # only \n, \r and \\ mean something else
        (" ", (" ",)),
    ],
)
def test_what_people_type(lines: str, stop: tuple[str, ...]) -> None:
    assert from_lines(lines) == stop
