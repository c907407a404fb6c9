"""The Arena at hand: keys after asking, answers that are alike, nothing that lies over the comment or breaks names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.conftest import Opener, served
from tests.browser.test_arena import BOX, SAID, ArenaServer, answered, begin, serve_arena, to_arena
from tests.ui.planted import PlantedEnsemble, planted_arena
from tests.ui.planted_votes import plant_votes

__all__ = ["serve_arena"]  # a fixture
pytestmark = pytest.mark.browser
LONG_NAMES = ("Qwen2.5-Coder-0.5B-Instruct", "SmolLM2-135M-Instruct", "ensemble, asks below 70 %", "every step")


def test_escape_leaves_the_field_so_that_keys_vote(serve_arena: ArenaServer, open_page: Opener) -> None:
    page = open_page(serve_arena()).page
    to_arena(page)
    page.focus(BOX)
    page.keyboard.type("Where is Paris?")
    page.keyboard.press("Enter")
    answered(page)
    page.keyboard.press("1")
    assert page.input_value(BOX) == "1", "until then it is the next prompt"
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    page.wait_for_selector(".gac-arena-told:has-text('Your vote: A is better')")
    assert page.input_value(BOX) == "1"


def test_escape_leaves_the_prompt_of_compare_too(serve_arena: ArenaServer, open_page: Opener) -> None:
    watched = open_page(serve_arena())
    watched.page.focus("#gac-prompt textarea")
    watched.page.keyboard.press("Escape")
    assert watched.page.evaluate("document.activeElement === document.body")


@pytest.mark.parametrize(("alone", "is_same"), [(SAID, True), (("Rome", ""), False)])
def test_answers_that_are_the_same_say_so(
    serve_arena: ArenaServer, open_page: Opener, alone: tuple[str, ...], is_same: bool
) -> None:
    page = open_page(serve_arena(alone=alone)).page
    to_arena(page)
    for _ in range(20):  # until an ensemble meets a member
        begin(page)
        answered(page)
        texts = page.locator(".gac-battle-card .gac-text").all_text_contents()
        said = "the same word for word" in page.inner_text(".gac-arena .gac-status")
        assert said == (texts[0] == texts[1])
        if (texts[0] == texts[1]) == is_same:
            return
        page.click(".gac-arena [data-act=skip]")
        page.wait_for_selector(".gac-arena-told:has-text('Skipped')")
    pytest.fail("no such pair was drawn")


def test_nothing_lies_over_the_comment(serve_arena: ArenaServer, open_page: Opener) -> None:
    page = open_page(serve_arena(), viewport={"width": 1280, "height": 900}).page
    to_arena(page)
    begin(page)
    answered(page)
    page.click(".gac-vote[data-outcome=left]")
    page.wait_for_selector(".gac-arena-reasons:not([hidden])")
    box = page.locator(".gac-arena-comment textarea")
    for _ in range(2):
        is_on_top = box.evaluate(
            """(box) => { const at = box.getBoundingClientRect();
            return [0.1, 0.5, 0.9].every((share) => {
              const y = at.top + share * at.height;
              return y >= innerHeight || document.elementFromPoint(at.left + at.width / 2, y) === box; }); }"""
        )
        assert is_on_top
        box.scroll_into_view_if_needed()
    box.click()
    page.keyboard.type("Both odd")
    assert box.input_value() == "Both odd"


@pytest.fixture
def voted(tmp_path: Path) -> Iterator[str]:
    """A site with votes on contestants of long names."""
    planted = planted_arena(tmp_path, PlantedEnsemble())
    plant_votes(planted.store, 60, LONG_NAMES)
    with served(planted.runs, None, planted.arena) as site:
        yield site


# Of names in the charts' legends, those that are cut or reach out of their chart.
CUT_NAMES = """() => [...document.querySelectorAll("#gac-rated-plots svg .role-legend-label text")].filter((text) => {
  const isOut = text.getBoundingClientRect().right > text.closest("svg").getBoundingClientRect().right;
  return isOut || text.textContent.includes("…");
}).map((text) => text.textContent)"""


@pytest.mark.parametrize("width", [390, 1280])
def test_matrix_and_charts_show_names_whole(voted: str, open_page: Opener, width: int) -> None:
    page = open_page(voted, viewport={"width": width, "height": 844}).page
    page.click("button[role=tab]:has-text('Leaderboard')")
    page.wait_for_selector(".gac-rank-matrix th bdi")
    num_lines = page.locator(".gac-rank-matrix th bdi, .gac-rank-table tbody th bdi").evaluate_all(
        "names => names.map((name) => [name.textContent, name.getClientRects().length])"
    )
    called = {*LONG_NAMES[:3], "ensemble, asks at every step"}
    assert {name for name, _ in num_lines} >= called
    assert [name for name, lines in num_lines if lines > 4] == []
    assert page.locator("tr[data-name='every step']").count() == 2, "the address marks both lines of a contestant"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.wait_for_selector("#gac-rated-plots svg.marks >> nth=1")
    assert page.locator("#gac-rated-plots svg .role-legend-label text").count() == 2 * len(LONG_NAMES)
    assert page.evaluate(CUT_NAMES) == []
