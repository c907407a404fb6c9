"""Whose runs are published, as their browsers said."""

from __future__ import annotations

import pytest

from gac_app.services.mirror import consent
from gac_app.services.mirror.consent import Consents
from gac_app.services.visitors import owner_of
from tests.services.house import ALICE, BOB


def test_the_last_word_of_a_browser_counts() -> None:
    consents = Consents()
    assert not consents.has(owner_of(ALICE))
    for said in (True, False, True):
        consents.set(ALICE, said)
        assert consents.has(owner_of(ALICE)) is said
    assert not consents.has(owner_of(BOB))


def test_one_browser_that_says_no_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consent, "MAX_BROWSERS", 2)
    consents, owner = Consents(), owner_of(ALICE)
    for browser in ("laptop", "phone", "tablet", "television"):
        consents.set(ALICE, True, browser)
    assert consents.has(owner)
    for browser in ("phone", "tablet"):  # one is beyond those that are told apart
        consents.set(ALICE, False, browser)
        assert not consents.has(owner)
        consents.set(ALICE, True, "laptop")
        assert not consents.has(owner)
        consents.set(ALICE, True, browser)
        assert consents.has(owner) is (browser == "phone")
