"""A visit at three widths: stop and continue, versions, what can be clicked, a battle."""

from __future__ import annotations

from typing import cast

import pytest

from tests.browser.conftest import Opener, Server, to_tab
from tests.browser.test_arena import answered, begin, names, to_arena
from tests.browser.test_arrangement import boxes
from tests.ui.planted import PlantedEnsemble

pytestmark = pytest.mark.browser

WORDS = (*(f" word{number}" for number in range(90)), "")
TEXT = ".gac-ensemble .gac-text"
CAN_BE_CLICKED = """() => [...document.querySelectorAll(
    'button, a[href], input, select, textarea, summary, [tabindex="0"]')]
  .filter((part) => !part.disabled && !part.matches('.gac-skip, .visually-hidden *'))
  .filter((part) => part.checkVisibility({ visibilityProperty: true })).map((part) => part.outerHTML.slice(0, 90))"""


def test_a_visit_is_the_same_at_three_widths(serve_arena: Server, open_page: Opener) -> None:
    site = serve_arena(PlantedEnsemble(WORDS))
    page, ensemble = open_page(site), cast(PlantedEnsemble, site.service.members.ensemble())
    for earlier, width in enumerate(page.at_widths(390, 1280, 1920)):
        to_tab(page.page, "Compare")
        ensemble.pause_s = 0.1
        page.ask(f"hello {width}", and_wait=False)
        page.wait_for_tokens(7)  # a click as soon as a run begins is taken for a double click
        page.page.click("#gac-prompt .stop-button")
        page.wait_for_end()
        kept, top = page.text(TEXT), boxes(page, ".gac-answers")[0][1]
        ensemble.pause_s = 0.01
        page.page.click(".gac-ensemble .gac-card-note button:text-is('Continue')")
        page.page.wait_for_selector(".gac-versions:has-text('2/2')")
        assert page.text(TEXT).startswith(kept), "no word is taken away"
        page.wait_for_end()
        assert len(page.text(TEXT)) > len(kept)
        assert boxes(page, ".gac-answers")[0][1] == top, "what is said of a version has its line"
        page.page.click("role=button[name='Older version']")
        page.page.wait_for_selector(".gac-versions:has-text('1/2')")
        assert page.text(TEXT) == kept
        assert page.page.locator(".gac-turns li").count() == earlier, "a version is no earlier turn"
        clickable = page.page.evaluate(CAN_BE_CLICKED)
        assert len(clickable) <= 32 + earlier, clickable

        to_arena(page.page)
        begin(page.page, f"Where at {width}?")
        answered(page.page)
        page.page.keyboard.press("x")
        page.page.wait_for_selector(".gac-arena-told:has-text('Your choice: Both bad')")
        page.page.wait_for_selector(".gac-battle-card h3 bdi")
        assert len(names(page.page)) == 2, "the names, at once"
        [again] = boxes(page, ".gac-arena [data-act=again]")
        assert 0 <= again[1] < again[3] <= 900, "the next battle's button is in sight"
        page.page.keyboard.press("?")
        page.page.wait_for_selector(".gac-keys")
