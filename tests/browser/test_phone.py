"""A phone's screen, in German too, whose words are longer: nothing is cut, covered or out of reach."""

from __future__ import annotations

import pytest
from playwright.sync_api import Route

from tests.browser.conftest import CALLS, Opener, Server, Watched, click
from tests.browser.test_arena import BOX, LISTENS, answered, to_arena
from tests.browser.test_arrangement import LONG, boxes, overlaps
from tests.ui.planted import PlantedEnsemble

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}
LINES = """selector => [...document.querySelectorAll(selector)].filter((part) => part.checkVisibility())
  .map((part) => Math.round(part.getBoundingClientRect().top))"""
IS_SEEN = """() => { const { activeElement: part } = document, dock = document.querySelector('#gac-dock');
  return dock.contains(part) || part.getBoundingClientRect().top < dock.getBoundingClientRect().top; }"""
SIGNS = """() => { const list = document.querySelector('.gac-empty ul'), found = new Set();
  for (let width = 120; width <= 340; width += 5) {
    list.style.width = `${width}px`;
    for (const part of document.querySelectorAll('.gac-empty .gac-with-sign')) {
      const range = document.createRange();
      range.selectNode(part.lastChild);
      found.add(range.getBoundingClientRect().left >= part.firstChild.getBoundingClientRect().right - 1);
    }
  }
  return [...found]; }"""


def ask_for(page: Watched, tokens: int, prompt: str = "hello") -> None:
    """Ask with an answer's limit, which then is in the settings."""
    page.page.click(".gac-summary")
    page.fill("#gac-set-max_new_tokens", str(tokens), then=f"#gac-summary:has-text('{tokens} ')", state="attached")
    page.page.click(".gac-settings [data-act=close]")
    page.ask(prompt)


def test_nothing_is_cut_or_covered_on_a_german_phone(serve: Server, open_page: Opener) -> None:
    ensemble = PlantedEnsemble(pieces=LONG, pause_s=0.05)
    page = open_page(serve(ensemble), viewport=PHONE, locale="de-DE", has_touch=True, is_mobile=True)
    page.ask("Hallo", and_wait=False)
    page.wait_for_tokens(60)  # a click on "stop" as soon as a run begins is taken for a double click
    assert page.text(".gac-hint") == "", "there is no such key"
    assert page.page.is_visible(".gac-summary-text")
    page.page.click("#gac-prompt .stop-button")
    page.wait_for_end()
    page.page.wait_for_selector(".gac-ensemble.has-note:has-text('Angehalten')")
    assert overlaps([*boxes(page, ".gac-votes"), *boxes(page, "#gac-dock")]) == [], "a note moves no vote away"
    assert len(set(page.page.evaluate(LINES, ".gac-segments"))) == 1, "both choices stand in one line"
    assert abs(boxes(page, ".gac-next")[0][1] - boxes(page, ".gac-status")[0][1]) < 20, "beside the status"


def test_words_of_a_german_vote_fit_a_phone(serve_arena: Server, open_page: Opener) -> None:
    page = open_page(serve_arena(), viewport=PHONE, locale="de").page
    page.click("role=tab[name=Arena]")
    page.wait_for_selector(LISTENS)
    page.fill(BOX, "Hallo")
    page.press(BOX, "Enter")
    page.wait_for_selector(".gac-arena-bar [data-act=skip]")
    words = page.locator(".gac-arena-bar button > span")
    assert words.evaluate_all("all => all.filter((part) => part.scrollWidth > part.clientWidth + 1).length") == 0


def test_an_arena_answer_stays_in_its_card(serve_arena: Server, open_page: Opener) -> None:
    page = to_arena(open_page(serve_arena(PlantedEnsemble((*LONG, ""))), viewport=PHONE).page)
    page.fill(BOX, "a prompt of several lines " * 5)
    page.wait_for_function(f"document.querySelector('{BOX}').offsetHeight > 80")
    page.press(BOX, "Enter")
    answered(page)
    click(page, ".gac-vote[data-outcome=left]", then=".gac-battle-facts:has-text('tokens')")
    bottom = "getBoundingClientRect().bottom"  # of both in one frame, since the page may still scroll
    stays = f"(card) => card.querySelector('.gac-body').{bottom} <= card.{bottom}"
    page.wait_for_function(f"[...document.querySelectorAll('.gac-battle-card')].every({stays})")
    assert page.evaluate(f"document.querySelector('{BOX}').offsetHeight") < 40, "the field is of one line again"


def test_a_long_answer_begins_at_its_beginning_and_has_room(serve: Server, open_page: Opener) -> None:
    """Opened again, and branched; earlier turns are cut and not scrolled; the box covers no focus."""
    page = open_page(serve(PlantedEnsemble(pieces=LONG)), viewport=PHONE)
    page.ask("hello " * 20)
    assert page.page.eval_on_selector(".gac-asked h2", "h2 => h2.scrollWidth <= h2.clientWidth"), "where nobody can tap"
    page.ask("again")
    page.page.reload()
    page.wait_for_tokens(len(LONG))
    assert page.page.evaluate("document.querySelector('.gac-ensemble .gac-body').scrollTop") == 0
    assert page.page.locator(".gac-turns").evaluate("list => list.scrollWidth <= list.clientWidth")
    page.click_token(1)
    page.page.locator(".gac-branch").first.click()
    page.page.wait_for_selector(".gac-of-branch")
    page.wait_for_end()
    [(_, top, _, bottom)] = boxes(page, ".gac-ensemble .gac-body")
    assert bottom - top >= 110
    page.page.set_viewport_size({"width": 320, "height": 256})
    page.page.focus(".gac-header .gac-skip")
    for _ in range(16):
        page.page.keyboard.press("Tab")
        assert page.page.evaluate(IS_SEEN), page.page.evaluate("document.activeElement.outerHTML")


def test_other_settings_leave_the_prompt_its_line(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(), viewport=PHONE)
    page.ask("hello")
    ask_for(page, 9, "again")
    page.page.go_back()
    page.page.wait_for_selector(".gac-ran-with:has-text('Asked with other settings: up to')")
    assert "gate" not in page.text(".gac-ran-with"), "only what is other"
    left, _, right, _ = boxes(page, ".gac-asked h2")[0]
    assert right - left > 150
    page.page.click(".gac-board .gac-keep summary")
    assert boxes(page, ".gac-keep-items")[0][0] >= 0


def test_signs_stay_with_words_and_a_vote_shows_at_once(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(), viewport=PHONE)
    assert page.page.evaluate(SIGNS) == [True], "none begins a line"
    page.ask("hello")
    held: list[Route] = []
    page.page.route(CALLS, lambda route: held.append(route))

    def vote() -> Route:
        with page.page.expect_request(CALLS):
            page.page.click(".gac-vote >> nth=0")
        page.page.wait_for_selector("text=Your choice: Ensemble")
        assert not page.page.is_visible(".gac-votes button")
        return held.pop()

    vote().fulfill(json={"error": "vote: is refused"})
    page.page.wait_for_selector(".gac-votes-error:text('refused')")
    vote().continue_()
    page.page.wait_for_selector(".gac-votes button:text('Undo')")
