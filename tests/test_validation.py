"""Texts that are compared."""

from __future__ import annotations

import unicodedata
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from gac_app.storage.text import folded
from gac_app.validation import normalised

PIECES = ["a", "e\u0301", "É", "\u0301\u0316", "漢" * 40, "привет" * 9, "ﬁ", " "]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), st.sampled_from(["NFC", "NFKC"]))
def test_it_is_what_unicode_says(text: str, form: Literal["NFC", "NFKC"]) -> None:
    assert normalised(form, text) == unicodedata.normalize(form, text)


def test_a_flood_of_accents_is_cut_off() -> None:
    """To normalise it holds Python's lock for a minute."""
    flood = "\u0301" * 2000 + "\u0316" * 2000
    assert normalised("NFC", f"a{flood}") == normalised("NFC", f"a{flood[:30]}")
    assert folded(f"A{flood}") == folded(f"a{flood[:30]}")
