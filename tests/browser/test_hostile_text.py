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


def test_hostile_output_is_shown_as_text(serve: Server, open_page: Opener) -> None:
    site = serve(PlantedEnsemble(pieces=(*HOSTILE, "")))
    page = open_page(site)
    page.ask("go on")
    assert page.page.evaluate("document.querySelector('.gac-ensemble .gac-text').textContent") == "".join(HOSTILE)
    assert page.page.locator(".gac-board :is(script, img, svg, a:not(.gac-skip))").count() == 0


def test_a_tag_split_over_tokens_stays_text(serve: Server, open_page: Opener) -> None:
    pieces = ("<scr", "ipt>al", "ert(1)</", "script>", "<im", "g src=x onerror=alert(2)>")
    page = open_page(serve(PlantedEnsemble(pieces=pieces)))
    page.ask("go on")
    assert page.page.evaluate("document.querySelector('.gac-ensemble .gac-text').textContent") == "".join(pieces)


def test_a_hostile_prompt_is_text_in_board_turns_and_history(serve: Server, open_page: Opener) -> None:
    page = open_page(serve())
    prompt = "<img src=x onerror=alert(1)> ${alert(2)}"
    page.ask(prompt)
    page.ask("second")
    assert page.text(".gac-turn-prompt") == prompt
    page.page.click("role=tab[name=History]")
    page.page.wait_for_selector(f".gac-run-prompt:text-is('{prompt}')")


def test_right_to_left_and_combining_floods_keep_the_layout(serve: Server, open_page: Opener) -> None:
    flood = "z" + "\u0301" * 400
    page = open_page(serve(PlantedEnsemble(pieces=("مرحبا", " بالعالم", "\u202e dlrow", "\n", flood, "x" * 3000))))
    page.ask("go on")
    assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.page.evaluate("getComputedStyle(document.querySelector('.gac-ensemble .gac-line')).direction") == "rtl"
    assert page.text(".gac-status").startswith("Finished")


def test_tokens_without_text_can_be_seen_and_inspected(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(PlantedEnsemble(pieces=("a", "\n", "b", " ", ""))))
    page.ask("go on")
    mark = "getComputedStyle(document.querySelector('.gac-ensemble .gac-break'), '::before').content"
    assert page.page.evaluate(mark) == '"⏎"'
    page.page.click(".gac-ensemble .gac-break")
    page.page.wait_for_selector(".gac-chosen .gac-label:text-is('⏎')")
    page.page.click(".gac-ensemble .gac-end")
    page.page.wait_for_selector(".gac-chosen .is-end")
    assert page.text(".gac-chosen .gac-label") == "end"
