"""The Leaderboard in a browser: not enough votes, ratings, filters; a vote moves it."""

from __future__ import annotations

import re

import pytest

from tests.browser.conftest import Opener, Server, to_tab
from tests.browser.test_axe import all_findings, with_axe
from tests.ui.planted_votes import plant_vote, plant_votes

pytestmark = pytest.mark.browser


# What stands in the note, one after the other.
NOTES = """() => {
  globalThis.notes = new Set();
  const note = () => notes.add(document.querySelector('.gac-rank-note')?.textContent);
  new MutationObserver(note).observe(document, { childList: true, subtree: true });
}"""


def test_the_first_look_says_what_it_waits_for(serve_arena: Server, open_page: Opener) -> None:
    site = serve_arena()
    for language in ("de", "und"):
        plant_vote(site.store, "zyxone", "zyxtwo", "left", language=language)
    page = open_page(site).page
    page.evaluate(NOTES)
    to_tab(page, "Leaderboard")
    page.wait_for_selector(".gac-rank-note:has-text('2 votes')")
    assert "Counting the votes…" in page.evaluate("[...notes]")
    assert page.locator(".gac-rank-filters [name=language] option").all_text_contents()[-2:] == [
        "German",
        "not recognised",
    ]
    for _ in range(2):
        page.wait_for_selector(".gac-leaderboard:not([aria-busy])")
        page.evaluate("import('gac/tabs').then(({ modules }) => modules['arena/leaderboard'].showLeaderboard())")
    page.wait_for_selector(".gac-leaderboard:not([aria-busy])")


def test_known_answers_and_the_most_active_address_are_told(serve_arena: Server, open_page: Opener) -> None:
    site = serve_arena()
    plant_votes(site.store, 60)
    for number in range(30):
        outcome = "left" if number % 3 else "right"
        plant_vote(site.store, "zyxone", "zyxtwo", outcome, f"{number % 3:x}" * 64, origin="reference", passes=False)
    page = open_page(site).page
    to_tab(page, "Leaderboard")
    page.wait_for_selector(".gac-rank-table b")
    assert page.locator(".gac-rank-busiest").count() == 0
    page.click(".gac-rank-fold summary")
    page.select_option(".gac-rank-filters [name=source]", "reference")
    page.wait_for_selector(".gac-rank-note:has-text('30 votes · 3 questions')")
    heads = page.locator(".gac-rank-table thead th").all_inner_texts()
    assert "ms per token" in heads
    assert "Passes per token" not in heads, "nobody knows them"
    for number in range(20):
        plant_vote(site.store, "zyxone", "zyxfour", "left", f"{number:064}", client="one")
    page.reload()
    to_tab(page, "Leaderboard")
    page.wait_for_selector(".gac-rank-busiest:has-text('20 votes, 20 visitors')")
    told = page.inner_text(".gac-rank-busiest")
    assert re.search(r"Without its votes, (all ranks are the same|\w+ would be number \d instead of \d)", told)


def test_ratings_are_shown_with_what_they_cost(serve_arena: Server, open_page: Opener) -> None:
    site = serve_arena()
    plant_votes(site.store, 120)
    watched = open_page(site)
    page = watched.page
    page.wait_for_selector("p.loading", state="detached")
    to_tab(page, "Leaderboard")
    page.wait_for_selector("#gac-rated-plots svg.marks >> nth=1")
    assert page.locator(".gac-rank-table tbody tr").count() == 4
    assert re.match(r"zyx(three|four) is .* than zyx(one|two)\b.* intervals ", page.inner_text(".gac-rank-verdict"))
    page.click(".gac-rank-fold summary")
    checks = page.locator(".gac-rank-filters .gac-check").evaluate_all("all => all.map((check) => check.offsetTop)")
    assert len(set(checks)) == 1, "all filters stand in one line"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.wait_for_selector(".gac-rank-matrix td:has-text('%')")
    page.click(".gac-rank-table a:has-text('zyxtwo')")
    page.wait_for_selector("tr[aria-current][data-name=zyxtwo] >> nth=1")
    page.goto(f"{site.url}?tab=leaderboard&contestant=zyxone")
    page.wait_for_selector("tr[aria-current][data-name=zyxone] >> nth=1")
    page.wait_for_selector("#gac-rated-plots svg.marks >> nth=1")
    page.click(".gac-rank-fold summary")
    page.check("[name=controls_style]")
    page.wait_for_selector(".gac-rank-more:has-text('Effect of style')")
    with_axe(watched)
    assert all_findings(watched) == {}
    page.check("[name=own]")
    page.wait_for_selector(".gac-rank-note:has-text('Not enough votes')")
    page.wait_for_selector("#gac-rated-plots svg.marks", state="detached")


LONG = "a_contestant_whose_name_is_one_word_of_" + "many" * 6 + "_letters"
# What of a contestant's line stands in the window: its whole name, its rating, and a text with the interval.
IN_SIGHT = """name => {
  const row = document.querySelector(`.gac-rank-table tr[data-name="${name}"]`), [, head, rating] = row.cells;
  const isInside = (cell) => cell.getBoundingClientRect().right <= innerWidth && cell.scrollWidth <= cell.clientWidth;
  return [isInside(head) && head.innerText, isInside(rating) && rating.innerText];
}"""


def test_on_a_phone_ratings_are_read_without_scrolling(serve_arena: Server, open_page: Opener) -> None:
    site = serve_arena()
    plant_votes(site.store, 60)
    for number in range(12):
        plant_vote(site.store, LONG, "zyxone", "left" if number % 3 else "right", f"{number:x}" * 64)
    watched = open_page(site, viewport={"width": 390, "height": 844})
    page = watched.page
    page.wait_for_selector("p.loading", state="detached")
    to_tab(page, "Leaderboard")
    page.wait_for_selector("#gac-rated-plots svg.marks >> nth=1")
    for name in (LONG, "zyxone"):
        head, rating = page.evaluate(IN_SIGHT, name)
        assert head.startswith(name)
        assert re.fullmatch(r"[\d,]+\s+[\d,]+ – [\d,]+", rating)
    page.click(".gac-rank-fold summary")
    assert page.is_visible("[name=controls_style]")
    with_axe(watched)
    assert all_findings(watched) == {}
