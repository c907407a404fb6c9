"""Signing in and out in a browser, where a Space offers it; consent to being published, where there is a mirror."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Opener, Site, Watched, click, served, to_tab
from tests.browser.test_arena import BOX, to_arena
from tests.browser.test_axe import all_findings, findings, with_axe
from tests.databases import sql
from tests.server.fake_provider import SECRET, Provider, offering_sign_in, provided
from tests.services.house import until
from tests.ui.planted import planted_arena

pytestmark = pytest.mark.browser

MENU, ACT = ".gac-account summary", ".gac-account button"
CONSENT = ".gac-arena-consent input"


@pytest.fixture
def offered(tmp_path: Path) -> Iterator[tuple[Site, Provider]]:
    planted = planted_arena(tmp_path, is_mirrored=True)
    with (
        provided() as provider,
        offering_sign_in(provider),
        served(planted.runs, None, planted.arena, sign_in_secret=SECRET) as site,
    ):
        yield site, provider


def act(page: Page, shown: str) -> None:
    """Sign in or out by the menu, and wait for what the page then shows."""
    page.click(MENU)
    click(page, ACT, then=f"{MENU}:has-text('{shown}')")
    page.evaluate("import('gac').then(({ modules }) => modules['page/loaded'].onLoaded(() => null))")


def prompts(page: Page) -> list[str]:
    """Of the visitor's History."""
    page.set_viewport_size({"width": 1280, "height": 844})  # else the tab is in a menu
    to_tab(page, "History", then=".gac-run-prompt")
    return page.locator(".gac-run-prompt").all_inner_texts()


def leave_out(watched: Watched, provider: Provider) -> None:
    """The provider is the one other host that the browser may go to."""
    watched.faults[:] = [fault for fault in watched.faults if not fault.startswith(f"remote: {provider.url}/")]


def test_a_visitor_signs_in_and_out(offered: tuple[Site, Provider], open_page: Opener) -> None:
    site, provider = offered
    page = (watched := open_page(site)).page
    watched.ask("Before")
    page.wait_for_selector(f"{MENU}:has-text('Sign in')")
    page.click(MENU)
    assert "stays in this browser" in page.inner_text(".gac-account")
    with_axe(watched)
    for width in watched.at_widths(1280, 390):
        assert all_findings(watched) == {}, width
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        box = page.locator(".gac-account .gac-keep-items").bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    page.keyboard.press("Escape")
    to_arena(page)
    page.check(CONSENT)

    provider.is_refusing = True
    act(page, "Sign in")
    page.wait_for_selector(".gac-account-note:has-text('did not work')")
    assert "sign-in" not in page.url
    provider.is_refusing = False
    act(page, "lovelace")
    to_arena(page)
    assert not page.is_checked(CONSENT), "the account has not been asked"
    to_tab(page, "Compare", then="#gac-prompt textarea")
    watched.ask("Signed in")
    page.reload()
    page.wait_for_selector(f"{MENU}:has-text('lovelace')")
    assert prompts(page) == ["Signed in"]
    act(page, "Sign in")
    assert prompts(page) == ["Before"]
    leave_out(watched, provider)


def test_consent_is_asked_for_kept_and_taken_back(open_page: Opener, tmp_path: Path) -> None:
    planted = planted_arena(tmp_path, is_mirrored=True)
    with served(planted.runs, None, planted.arena) as site:
        page = (watched := open_page(site)).page
        to_arena(page)
        with_axe(watched)
        for width in watched.at_widths(1280, 390):
            assert findings(watched) == [], width
        assert not page.is_checked(CONSENT)
        assert "publishes them without my name" in page.inner_text(".gac-arena-consent")
        other = page.context.new_page()
        other.goto(site.url)
        to_arena(other)
        page.check(CONSENT)
        until(lambda: other.is_checked(CONSENT), "for the box in another tab")
        page.reload()
        page.wait_for_selector(CONSENT, state="attached")  # the Arena opens again
        until(lambda: page.is_checked(CONSENT), "for what the browser keeps")
        page.uncheck(CONSENT)
        page.fill(BOX, "Where is Paris?")
        page.press(BOX, "Enter")
        page.wait_for_selector(".gac-arena-asked:text-is('Where is Paris?')")
        consents = "SELECT has_consent FROM battle"
        until(lambda: sql(tmp_path / "runs.sqlite3", consents), "for the battle")
        assert sql(tmp_path / "runs.sqlite3", consents) == [(0,)]
