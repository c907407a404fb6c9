"""A run of long answers is opened: the text is there at once, and every token soon after."""

from __future__ import annotations

import pytest
from playwright.sync_api import Route

from gac_app.ui.compare.records import PIECE
from tests.browser.conftest import Opener, Server
from tests.ui.planted import PlantedEnsemble

pytestmark = pytest.mark.browser

NUM_TOKENS = 2 * PIECE + 100
PIECES = [f"word{position}\n" if position % 9 == 8 else f"word{position} " for position in range(NUM_TOKENS)]
PARTED_AT = PIECE + 5
CALLS = "**/component_server/"


def test_a_long_run_shows_its_text_then_its_tokens(serve: Server, open_page: Opener) -> None:
    alone = [*PIECES[:PARTED_AT], "other ", *PIECES[PARTED_AT + 1 :], ""]
    site = serve(PlantedEnsemble([*PIECES, ""], alone=alone))
    page = open_page(site)
    page.ask("Say much")
    site.service._runs.remove(site.service._runs.all())  # as after a restart
    held: list[Route] = []
    is_holding = True

    def hold(route: Route) -> None:
        if is_holding and "read_tokens" in (route.request.post_data or ""):
            held.append(route)
        else:
            route.continue_()

    page.page.route(CALLS, hold)
    page.page.reload()
    page.wait_for_tokens(PIECE)
    assert page.text(".gac-ensemble .gac-text").split() == "".join(PIECES).split(), "before the tokens have come"
    assert page.page.locator(".gac-end").count() == 0
    is_holding = False
    for route in held:
        route.continue_()

    page.page.wait_for_function("document.querySelectorAll('.gac-end').length === 3")
    page.wait_for_tokens(NUM_TOKENS + 1)
    assert page.text(".gac-ensemble .gac-text").split() == "".join(PIECES).split(), "nothing is written twice"
    page.page.wait_for_selector(".gac-subline .gac-fork:not([hidden]) >> nth=1")
    for place in (0, 1):  # What differs is shown where it begins.
        page.page.locator(".gac-subline .gac-fork").nth(place).click()
        page.page.wait_for_selector(f".gac-inspector :text('Token {PARTED_AT + 1:,}')")
        page.page.keyboard.press("Escape")
    page.click_token(NUM_TOKENS - 1)
    page.page.wait_for_selector(f".gac-inspector :text('word{NUM_TOKENS - 1}')")
