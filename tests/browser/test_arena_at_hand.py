"""The Arena at hand: answers that are alike, and names that are shown whole."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Opener, Server, to_tab
from tests.browser.test_arena import BOX, SAID, answered, begin, to_arena
from tests.ui.planted import PlantedEnsemble
from tests.ui.planted_votes import plant_votes

pytestmark = pytest.mark.browser
LONG_NAMES = ("Qwen2.5-Coder-0.5B-Instruct", "SmolLM2-135M-Instruct", "ensemble, asks below 70 %", "every step")


def test_answers_that_are_the_same_say_so(serve_arena: Server, open_page: Opener) -> None:
    page, seen = open_page(serve_arena(PlantedEnsemble(SAID, alone=("Rome", "")))).page, set[bool]()
    to_arena(page)
    for _ in range(30):  # until an ensemble met a member, and members met
        begin(page)
        answered(page)
        left, right = page.locator(".gac-battle-card .gac-text").all_text_contents()
        said = "the same word for word" in page.inner_text(".gac-arena .gac-status")
        assert said == (left == right)
        seen.add(said)
        if len(seen) == 2:
            return
        page.click(".gac-arena [data-act=skip]")
        page.wait_for_selector(".gac-arena-told:has-text('Skipped')")
    pytest.fail("no such pair was drawn")


def test_who_goes_back_to_the_prompt_types_and_does_not_vote(serve_arena: Server, open_page: Opener) -> None:
    words = (*(f" word{number}" for number in range(80)), "")
    page = open_page(serve_arena(PlantedEnsemble(words, pause_s=0.03))).page
    to_arena(page)
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
        begin(page)
        answered(page)
        page.click(".gac-vote[data-outcome=tie]")
        page.wait_for_selector(".gac-arena-views [value=changes]", state="attached")
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
    plant_votes(site.store, 60, LONG_NAMES)
    watched = open_page(site, viewport={"width": 390, "height": 844})
    page = watched.page
    to_tab(page, "Leaderboard")
    page.wait_for_selector(".gac-rank-matrix th bdi")
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
