from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac_app.ui.compare.spelling import label_of


@pytest.mark.parametrize(
    ("token", "label"),
    [
        (b" the", "␣the"),
        (b"\n\n", "⏎⏎"),
        (b"\t\r\x00", "⇥␍␀"),
        (b"", "END"),
        ("日本".encode(), "日本"),
        (b"a\xe2\x82", "a⟨E2 82⟩"),
        ("\u202e\u00a0".encode(), "⟨U+202E⟩⟨U+00A0⟩"),
    ],
)
def test_labels(token: bytes, label: str) -> None:
    assert label_of(token) == label


@given(st.binary(min_size=1, max_size=12))
def test_no_label_hides_anything(token: bytes) -> None:
    label = label_of(token)
    assert label
    inner = label.replace(" ", "")  # the only space stands between the bytes of ⟨E2 82⟩
    assert not any(unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp", "Zs", "Cs") for char in inner)
