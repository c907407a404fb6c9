"""Pseudonyms are drawn anew each time, and only the key tells whose they are."""

from __future__ import annotations

from gac_app.storage.database.visitors import is_pseudonym_of, new_pseudonym
from tests.storage.samples import ALICE, BOB


def test_only_the_key_tells_whose_they_are() -> None:
    found = {new_pseudonym(ALICE) for _ in range(100)}
    assert len(found) == 100
    assert all(len(one) == 32 and is_pseudonym_of(ALICE, one) for one in found)
    assert not any(is_pseudonym_of(BOB, one) for one in found)


def test_what_is_no_pseudonym_is_nobody_s() -> None:
    for other in ("7", "", "f" * 32, "é" * 40):
        assert not is_pseudonym_of(ALICE, other)
