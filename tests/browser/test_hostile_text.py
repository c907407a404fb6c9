"""What models write is text: nothing runs, nothing loads, the layout holds."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Opener, Server
from tests.ui.planted import PlantedEnsemble

pytestmark = pytest.mark.browser

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "${alert(3)}",
    "{{alert(4)}}",
    " ![pixel](https://evil.example/pixel.png)",
    " [link](javascript:alert(5))",
    "\\\\u003cscript\\u003e `${1}`",
    "'\"><svg onload=alert(6)>",
)


SPLIT = ("<scr", "ipt>al", "ert(1)</", "script>", "<im", "g src=x onerror=alert(2)>")
FLOOD = ("مرحبا", " بالعالم", "\u202e dlrow", "\n", "z" + "\u0301" * 400, "x" * 3000)


def test_hostile_text_is_shown_as_text_and_keeps_the_layout(serve: Server, open_page: Opener) -> None:
    """Of members, also where a tag is split over tokens, and of the visitor, also in turns and History."""
    ensemble, prompt = PlantedEnsemble(), "<img src=x onerror=alert(1)> ${alert(2)}"
    page = open_page(serve(ensemble))
    for pieces in (HOSTILE, SPLIT, FLOOD):
        ensemble.pieces = ensemble.alone = pieces
        page.ask(prompt if pieces is HOSTILE else f"then {pieces[0]}")
        shown = page.page.evaluate("document.querySelector('.gac-ensemble .gac-text').textContent")
        as_meant = "".join(pieces).replace("[link](", "link(").replace("\\\\", "\\").replace("`", "")
        assert shown == as_meant
        assert page.page.locator(".gac-board :is(script, img, svg, a:not(.gac-skip))").count() == 0
        assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.text(".gac-status").startswith("Finished")
    assert page.page.locator(".gac-turn-prompt").first.inner_text() == prompt
    page.page.click("role=tab[name=History]")
    page.page.wait_for_selector(f".gac-run-prompt:text-is('{prompt}')")


# Where a line that reads from right to left ends.
BREAK_IS_LEFT = """() => {
  const range = document.createRange(), { firstChild: text } = document.querySelector('.gac-ensemble .gac-text p');
  range.setStart(text, 0);
  range.setEnd(text, 4);
  const { left } = range.getBoundingClientRect();
  const { right } = document.querySelector('.gac-ensemble .gac-break').getBoundingClientRect();
  return right <= left + 1 && right > left - 4; }"""


def test_tokens_without_text_can_be_seen_and_inspected(serve: Server, open_page: Opener) -> None:
    ensemble = PlantedEnsemble(pieces=("a", "\n", "b", " ", ""))
    page = open_page(serve(ensemble))
    page.ask("go on")
    mark = "getComputedStyle(document.querySelector('.gac-ensemble .gac-break'), '::before').content"
    assert page.page.evaluate(mark) == '"⏎"'
    page.page.click(".gac-ensemble .gac-break")
    page.page.wait_for_selector(".gac-chosen .gac-label:text-is('⏎')")
    page.page.click(".gac-ensemble .gac-end")
    page.page.wait_for_selector(".gac-chosen .is-end")
    assert page.text(".gac-chosen .gac-label") == "end"
    ensemble.pieces = ("שלום", "\n", "עולם", "")
    page.ask("from right to left")
    assert page.page.evaluate(BREAK_IS_LEFT)
