"""Consent to being published, where there is a mirror: asked under the prompt and in the Arena, and one for both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gac_app.services.visitors import owner_of
from tests.browser.conftest import Opener, Site, served
from tests.browser.test_arena import BOX, to_arena
from tests.browser.test_axe import findings, with_axe
from tests.services.house import until
from tests.ui.planted import Planted, planted_arena

pytestmark = pytest.mark.browser

UNDER_PROMPT, IN_ARENA = "#gac-consent input", ".gac-arena-consent input"


@pytest.fixture
def mirrored(tmp_path: Path) -> Iterator[tuple[Planted, Site]]:
    planted = planted_arena(tmp_path, is_mirrored=True)
    with served(planted.runs, None, planted.arena) as site:
        yield planted, site


def test_it_is_asked_for_kept_and_taken_back(mirrored: tuple[Planted, Site], open_page: Opener) -> None:
    planted, site = mirrored
    watched = open_page(site)
    page = watched.page
    owner = owner_of(page.evaluate("import('gac').then(({ modules }) => modules['page/browser'].visitorKey())"))
    page.wait_for_selector("p.loading", state="detached")
    with_axe(watched)
    for width in watched.at_widths(1280, 390):
        assert findings(watched) == [], width
    assert not page.is_checked(UNDER_PROMPT)
    assert "without my name" in page.inner_text("#gac-consent")
    page.check(UNDER_PROMPT)
    until(lambda: planted.runs.consents.has(owner), "for consent")
    to_arena(page)
    assert page.is_checked(IN_ARENA)
    assert "publishes them without my name" in page.inner_text(".gac-arena-consent")
    page.reload()
    page.wait_for_selector(UNDER_PROMPT, state="attached")  # the Arena opens again
    until(lambda: page.is_checked(UNDER_PROMPT), "for what the browser keeps")
    to_arena(page)
    page.uncheck(IN_ARENA)
    until(lambda: not planted.runs.consents.has(owner), "for consent to be taken back")
    page.fill(BOX, "Where is Paris?")
    page.press(BOX, "Enter")
    page.wait_for_selector(".gac-arena-asked:text-is('Where is Paris?')")
    until(lambda: list(planted.store.battles.export()), "for the battle")
    assert [battle.body["consent"] for battle in planted.store.battles.export()] == [False]
