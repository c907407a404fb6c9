"""Digests on the cards, and what a run that was started again says of its answers."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Opener, Server, Watched
from tests.ui.planted import ANSWER, PlantedEnsemble

pytestmark = pytest.mark.browser

IDENTICAL = "identical to the previous run"


def said_again(page: Watched) -> list[str]:
    """By each card of a run again, once it is over."""
    page.page.wait_for_selector(".gac-board.is-again .gac-again >> nth=2")
    page.wait_for_end()
    return page.page.locator(".gac-again").all_inner_texts()


def test_a_digest_is_copied_and_says_if_it_comes_again(serve: Server, open_page: Opener) -> None:
    ensemble = PlantedEnsemble()
    page = open_page(serve(ensemble), permissions=["clipboard-read", "clipboard-write"])
    page.ask("hello")
    page.page.click(".gac-details summary")
    [proof] = page.page.locator(".gac-proof").all_inner_texts()
    assert proof.startswith("digest ")
    assert proof.endswith("… · reproducible")
    button = page.page.locator(".gac-ensemble .gac-proof button")
    shown, title = button.inner_text(), button.get_attribute("title") or ""
    button.click()
    page.page.wait_for_selector(".gac-ensemble .gac-proof button:text-is('Copied')")
    digest = page.page.evaluate("navigator.clipboard.readText()")
    assert len(bytes.fromhex(digest)) == 8
    assert title.endswith(digest)
    page.page.wait_for_selector(f".gac-ensemble .gac-proof button:text-is('{shown}')")
    assert shown == f"digest {digest[:8]}…"
    ensemble.is_reproducible = False
    page.ask("again")
    word = page.page.locator(".gac-ensemble .gac-proof :text-is('not reproducible')")
    assert "set Reproducible to On" in (word.get_attribute("title") or "")


def test_a_run_again_is_compared_with_the_one_before(serve: Server, open_page: Opener) -> None:
    ensemble = PlantedEnsemble()
    page = open_page(serve(ensemble))
    page.ask("hello")
    assert page.page.locator(".gac-again").count() == 0
    page.choose("Run again")
    assert said_again(page) == [IDENTICAL] * 3
    ensemble.pieces = ["Paris", "<img src=x onerror=alert(1)>", *ANSWER[2:]]
    page.page.click("role=tab[name=History]")
    page.page.click(".gac-runs [aria-label='More: hello'] >> nth=0")
    page.page.click(".gac-runs li >> nth=0 >> text=Run again")
    page.page.wait_for_selector(".gac-again:has-text('differs')")
    told = 'differs from the previous run at token 2: "<img␣src=x␣onerror=alert(1)>" instead of "␣is"'
    assert said_again(page) == [told, IDENTICAL, IDENTICAL]
    assert page.page.locator(".gac-board img").count() == 0
    page.ask("and then?")
    assert page.page.locator(".gac-again, .gac-board.is-again").count() == 0
