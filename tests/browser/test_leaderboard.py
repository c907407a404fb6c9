"""The Leaderboard in a browser: not enough votes, ratings, filters; and battles whose answers are alike or changed."""

from __future__ import annotations

import re
import threading

import pytest

from gac_app.services.battles.standings import Standings
from tests.browser.conftest import WAIT_MS, Opener, Server, click, to_tab
from tests.browser.test_arena import BOX, SAID, answered, ask_two, begin, to_arena
from tests.browser.test_axe import all_findings, with_axe
from tests.ui.planted import PlantedEnsemble
from tests.ui.planted_votes import plant_vote, plant_votes

pytestmark = pytest.mark.browser

# What stands in the note, one after the other.
NOTES = """() => {
  globalThis.notes = new Set();
  const note = () => notes.add(document.querySelector('.gac-rank-note')?.textContent);
  new MutationObserver(note).observe(document, { childList: true, subtree: true });
}"""

# Of three replies, the second one comes last: what is asked, and whether it is busy, after each.
LATE = """async () => {
  const { modules } = await import('gac/tabs'), asked = [], told = [], props = {};
  const element = document.querySelector('.gac-leaderboard').parentElement.cloneNode(true);
  let draw = null;
  const watch = (_, changed) => { draw = changed; };
  modules['arena/leaderboard'].start({ element, props, watch, trigger: (_, { at }) => asked.push(at) });
  for (const _ of [1, 2, 3]) element.querySelector('form').dispatchEvent(new Event('change'));
  const board = { languages: [], configs: [], standings: [], names: [], words: {}, alone: [], style_effects: {} };
  for (const at of [1, 3, 2]) {
    props.value = JSON.stringify({ ...board, at, num_votes: at });
    draw();
    const root = element.querySelector('.gac-leaderboard'), note = root.querySelector('.gac-rank-note').textContent;
    told.push([asked.at(-1), root.hasAttribute('aria-busy'), note.slice(0, 4)]);
  }
  return told;
}"""


def test_the_first_look_says_what_it_waits_for(
    serve_arena: Server, open_page: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is chosen while it counts is counted too."""
    site = serve_arena()
    for language in ("de", "und", "und"):
        plant_vote(site.store, "zyxone", "zyxtwo", "left", language=language)
    page = open_page(site).page
    page.evaluate(NOTES)
    to_tab(page, "Leaderboard", then=".gac-rank-note:has-text('3 votes')")
    assert "Counting the votes…" in page.evaluate("[...notes]")
    languages = page.locator(".gac-rank-filters [name=language] option").all_text_contents()
    assert languages[-2:] == ["German", "not recognised"]
    for _ in range(2):
        page.wait_for_selector(".gac-leaderboard:not([aria-busy])")
        page.evaluate("import('gac/tabs').then(({ modules }) => modules['arena/leaderboard'].showLeaderboard())")
    page.wait_for_selector(".gac-leaderboard:not([aria-busy])")
    page.click(".gac-rank-fold summary")
    is_chosen, count = threading.Event(), Standings.leaderboard
    held = lambda *args, **options: is_chosen.wait(WAIT_MS / 1000) and count(*args, **options)  # noqa: E731
    monkeypatch.setattr(Standings, "leaderboard", held)
    for language in ("de", "und"):
        with page.expect_response("**/queue/join*"):
            page.select_option(".gac-rank-filters [name=language]", language)
    is_chosen.set()
    page.wait_for_selector(".gac-rank-note:has-text('2 votes')")
    told = page.evaluate(LATE)
    assert told == [[3, True, "1 vo"], [3, False, "3 vo"], [4, True, "Coun"]], "a reply that came late is asked again"


def test_known_answers_and_the_most_active_address_are_told(serve_arena: Server, open_page: Opener) -> None:
    site = serve_arena()
    plant_votes(site.store, 60)
    for number in range(30):
        outcome = "left" if number % 3 else "right"
        plant_vote(site.store, "zyxone", "zyxtwo", outcome, f"{number % 3:x}" * 64, origin="reference", passes=False)
    page = open_page(site).page
    to_tab(page, "Leaderboard", then=".gac-rank-table b")
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
    to_tab(page, "Leaderboard", then=".gac-rank-busiest:has-text('20 votes, 20 visitors')")
    told = page.inner_text(".gac-rank-busiest")
    assert re.search(r"Without its votes, (all ranks are the same|\w+ would be number \d instead of \d)", told)


def test_ratings_are_shown_with_what_they_cost(serve_arena: Server, open_page: Opener) -> None:
    site = serve_arena()
    plant_votes(site.store, 120)
    page = (watched := open_page(site)).page
    page.wait_for_selector("p.loading", state="detached")
    to_tab(page, "Leaderboard", then="#gac-rated-plots svg.marks >> nth=1")
    assert page.locator(".gac-rank-table tbody tr").count() == 4
    assert re.match(r"zyx(three|four) is .* than zyx(one|two)\b.* intervals ", page.inner_text(".gac-rank-verdict"))
    page.click(".gac-rank-fold summary")
    checks = page.locator(".gac-rank-filters .gac-check").evaluate_all("all => all.map((check) => check.offsetTop)")
    assert len(set(checks)) == 1, "all filters stand in one line"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.wait_for_selector(".gac-rank-matrix td:has-text('%')")
    click(page, ".gac-rank-table a:has-text('zyxtwo')", then="tr[aria-current][data-name=zyxtwo] >> nth=1")
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
    page = (watched := open_page(site, viewport={"width": 390, "height": 844})).page
    page.wait_for_selector("p.loading", state="detached")
    to_tab(page, "Leaderboard", then="#gac-rated-plots svg.marks >> nth=1")
    for name in (LONG, "zyxone"):
        head, rating = page.evaluate(IN_SIGHT, name)
        assert head.startswith(name)
        assert re.fullmatch(r"[\d,]+\s+[\d,]+ – [\d,]+", rating)
    page.click(".gac-rank-fold summary")
    assert page.is_visible("[name=controls_style]")
    with_axe(watched)
    assert all_findings(watched) == {}


LONG_NAMES = ("Qwen2.5-Coder-0.5B-Instruct", "SmolLM2-135M-Instruct", "ensemble, asks below 70 %", "every step")


def test_answers_that_are_the_same_say_so(serve_arena: Server, open_page: Opener) -> None:
    page, seen = open_page(serve_arena(PlantedEnsemble(SAID, alone=("Rome", "")))).page, set[bool]()
    to_arena(page)
    for _ in range(30):  # until an ensemble met a member, and members met
        ask_two(page)
        left, right = page.locator(".gac-battle-card .gac-text").all_text_contents()
        said = "the same word for word" in page.inner_text(".gac-arena .gac-status")
        assert said == (left == right)
        seen.add(said)
        if len(seen) == 2:
            return
        click(page, ".gac-arena [data-act=skip]", then=".gac-arena-told:has-text('Skipped')")
    pytest.fail("no such pair was drawn")


def test_who_goes_back_to_the_prompt_types_and_does_not_vote(serve_arena: Server, open_page: Opener) -> None:
    words = (*(f" word{number}" for number in range(80)), "")
    page = to_arena(open_page(serve_arena(PlantedEnsemble(words, pause_s=0.03))).page)
    begin(page)
    page.wait_for_function("document.querySelector('.gac-battle-card .gac-text')?.textContent.length > 60")
    page.click(BOX)
    answered(page)
    page.keyboard.type("2 more")
    assert page.input_value(BOX) == "2 more"


# An answer with a token that the others changed, or -1.
CHANGED = """() => [...document.querySelectorAll('.gac-battle-card .gac-text')].findIndex(
  (text) => text.tokens.marks.all.some((mark) => mark.tokens.some((token) => token.change)))"""


def test_a_changed_token_tells_what_the_gate_wanted(serve_arena: Server, open_page: Opener) -> None:
    page, at = open_page(serve_arena(PlantedEnsemble(SAID))).page, -1
    to_arena(page)
    while at < 0:  # until an ensemble is drawn
        ask_two(page)
        click(page, ".gac-vote[data-outcome=tie]", then=".gac-arena-views [value=changes]", state="attached")
        at = page.evaluate(CHANGED)
    page.locator(".gac-battle-card .gac-text").nth(at).focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector(".gac-arena .gac-inspector .gac-verdict:text-is('Small: “instead” → together: “**the**”')")


# Of names in the charts' legends, those that are cut or reach out of their chart.
CUT_NAMES = """() => [...document.querySelectorAll("#gac-rated-plots svg .role-legend-label text")].filter((text) => {
  const isOut = text.getBoundingClientRect().right > text.closest("svg").getBoundingClientRect().right;
  return isOut || text.textContent.includes("…");
}).map((text) => text.textContent)"""


def test_matrix_and_charts_show_names_whole(serve_arena: Server, open_page: Opener) -> None:
    site = serve_arena()
    plant_votes(site.store, 60, LONG_NAMES, config_hash=site.service.config_hash)
    page = (watched := open_page(site, viewport={"width": 390, "height": 844})).page
    to_tab(page, "Leaderboard", then=".gac-rank-matrix th bdi")
    for width in watched.at_widths(390, 1280):
        num_lines = page.locator(".gac-rank-matrix th bdi, .gac-rank-table tbody th bdi").evaluate_all(
            "names => names.map((name) => [name.textContent, name.getClientRects().length])"
        )
        assert {name for name, _ in num_lines} >= {*LONG_NAMES[:3], "ensemble, asks at every step"}
        assert [name for name, lines in num_lines if lines > 4] == []
        assert page.locator("tr[data-name='every step']").count() == 2, "the address marks both lines of a contestant"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.wait_for_selector("#gac-rated-plots svg.marks >> nth=1")
        assert page.locator("#gac-rated-plots svg .role-legend-label text").count() == 2 * len(LONG_NAMES)
        assert page.evaluate(CUT_NAMES) == [], width
