"""What is asked for while the members load waits for them, also where the page does not know yet that they do."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Opener, Server, loading

pytestmark = pytest.mark.browser

AWAITS = ".gac-hint:has-text('Will be asked as soon as the models are ready')"
BOX, RUN = "#gac-prompt textarea", "#gac-prompt .submit-button"
# In one go: the list is written anew when a run has ended, which closes a menu.
AGAIN_IN_HISTORY = """() => {
  document.querySelector(".gac-runs [aria-label^='More: ']").click();
  [...document.querySelectorAll(".gac-runs button")].find(({ textContent }) => textContent === "Run again").click();
}"""


def test_a_question_waits_or_is_called_off(serve: Server, open_page: Opener) -> None:
    """By Stop, which stands where Run stood, by an edit, by clearing it; a double click is one click."""
    site = serve()
    with loading(site.service):
        page = open_page(site)
        page.page.wait_for_selector(".gac-chips li[data-phase=loading]")
        for call_off in (
            lambda: page.page.click(RUN.replace("submit", "stop")),
            lambda: page.page.type(BOX, "!"),
            lambda: page.page.fill(BOX, ""),
        ):
            page.page.fill(BOX, "early")
            page.page.dblclick(RUN)
            page.page.wait_for_selector(AWAITS)
            page.page.wait_for_timeout(700)  # a second click so soon is not meant
            call_off()
            page.page.wait_for_selector(AWAITS, state="detached")
            page.page.wait_for_selector(RUN)
        page.page.fill(BOX, "early")
        page.page.press(BOX, "Enter")
        page.page.wait_for_selector(AWAITS)
        assert page.page.locator(".gac-notice").is_hidden()
        page.page.reload()
        page.page.wait_for_selector(AWAITS)
        assert page.page.input_value(BOX) == "early"
    page.page.wait_for_selector(".gac-asked h2:text-is('early')")
    page.wait_for_end()
    assert page.page.input_value(BOX) == ""
    page.page.reload()
    page.page.wait_for_selector(".gac-asked h2:text-is('early')")
    assert page.page.locator(AWAITS).count() == 0
    awaited = page.page.evaluate("""() => {
      const { areLoading, tellFacts } = gac['settings/facts'], told = [];
      for (const phase of ['loading', 'failed']) {
        tellFacts(['Small', 'Large'].map((name) => ({ name, phase: name === 'Large' ? phase : 'loading' })));
        told.push(areLoading());
      }
      return told; }""")
    assert awaited == [True, False], "one that failed is not waited for"


def test_what_a_new_server_refuses_waits_for_its_models(serve: Server, open_page: Opener) -> None:
    """The page has seen members ready; the server that has begun anew is loading them. Another press calls it off."""
    waits = ".gac-status:has-text('Will be asked as soon as')"
    site = serve()
    page = open_page(site)
    page.page.wait_for_selector(".gac-chips li[data-phase=ready] >> nth=1", state="attached")
    with loading(site.service):
        page.page.fill(BOX, "early")
        page.page.press(BOX, "Enter")
        page.page.wait_for_selector(AWAITS)
        page.page.wait_for_selector(".gac-chips li[data-phase=loading]")
        assert page.page.locator(".gac-notice").is_hidden()
    page.page.wait_for_selector(".gac-asked h2:text-is('early')")
    page.wait_for_end()
    in_menu = ".gac-runs [aria-label^='More: ']"
    for tab, run_again in (
        ("Compare", lambda: page.choose("Run again")),
        ("History", lambda: (page.page.wait_for_selector(in_menu), page.page.evaluate(AGAIN_IN_HISTORY))),
    ):
        page.page.wait_for_selector(".gac-chips li[data-phase=ready] >> nth=1", state="attached")
        with loading(site.service):
            for is_off in (False, True, False):
                page.page.click(f"role=tab[name={tab}]")
                run_again()
                page.page.wait_for_selector(".gac-chips li[data-phase=loading]")
                page.page.wait_for_selector(waits, state="detached" if is_off else "visible")
            assert page.page.locator(".gac-notice").is_hidden()
        page.page.wait_for_selector(".gac-board.is-again .gac-again >> nth=2")
        page.wait_for_end()
