"""The settings panel: fields, faults, presets, and what is kept in the browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import Route

from tests.browser.conftest import WINDOW, Opener, Server, Watched, reload
from tests.ui.planted import PlantedEnsemble

pytestmark = pytest.mark.browser

SUMMARY = ".gac-summary-text"
CHECKS = "**/gradio_api/run/**"


def summed_up(page: Watched, words: str) -> None:
    page.page.wait_for_selector(f"{SUMMARY}:has-text('{words}')")


def note_of(page: Watched, name: str) -> str:
    return page.text(f"#gac-set-{name}-note")


def test_the_panel_has_a_named_button_and_closed_no_focus(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(), viewport={"width": 390, "height": 844})
    button = page.page.get_by_role("button", name="Settings")
    assert button.is_visible()
    page.page.focus(".gac-summary")
    for _ in range(40):
        page.page.keyboard.press("Tab")
        assert not page.page.evaluate("document.activeElement.closest('.gac-settings')")
    button.click()
    assert page.page.evaluate("Boolean(document.activeElement.closest('.gac-settings'))")
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 390
    page.page.keyboard.press("Escape")
    assert not page.page.locator(".gac-settings").is_visible()
    assert page.page.evaluate("document.activeElement.className") == "gac-summary"
    page.page.set_viewport_size(WINDOW)
    for outside in ("textarea", ".submit-button"):  # seen beside the panel, and under it
        button.click()
        page.page.focus(f"#gac-prompt {outside}")
        if outside == "textarea":
            assert page.page.is_visible(".gac-settings")
            page.page.keyboard.press("Escape")
        assert page.page.is_hidden(".gac-settings")
    assert page.page.evaluate("document.activeElement.matches('.submit-button')"), "it keeps the focus"


def test_fields_follow_what_is_chosen(serve: Server, open_page: Opener) -> None:
    page = open_page(serve())
    page.open_settings()
    page.page.locator("#gac-set-seed").wait_for(state="hidden")  # only what acts is there
    page.fill("#gac-set-temperature", "0.7", then="#gac-set-seed")
    output = "output[for=gac-set-threshold]"
    assert page.text(output) == "50 %"
    page.page.focus("#gac-set-threshold")
    page.page.keyboard.press("ArrowRight")
    assert page.text(output) == "51 %"
    page.page.keyboard.press("End")
    assert page.text(output) == "always"
    assert page.page.get_attribute("#gac-set-threshold", "aria-valuetext") == "always"
    summed_up(page, "others always asked")
    exponent = page.page.get_by_label("Exponent")
    assert not exponent.is_visible()
    page.page.get_by_label("Power mean").check()
    exponent.wait_for(state="visible")
    exponent.fill("3")
    summed_up(page, "power mean, exponent 3")
    exponent.fill("99")
    page.page.wait_for_selector(".gac-field-note.is-fault:has-text('from -20 to 20')")
    page.page.get_by_label("Geometric mean").check()
    exponent.wait_for(state="hidden")
    page.page.get_by_label("Every step").check()
    page.page.wait_for_selector("#gac-set-threshold", state="hidden")
    summed_up(page, "every step combined")
    page.page.evaluate("localStorage.setItem('gac.settings', '{}')")  # those of another tab
    reload(page.page)
    summed_up(page, "every step combined")
    summed_up(page, "temperature 0.7")


def test_all_bad_fields_are_told_at_once_and_found(serve: Server, open_page: Opener) -> None:
    page = open_page(serve())
    page.open_settings()
    page.page.fill("#gac-set-temperature", "")
    page.fill("#gac-set-max_new_tokens", "9" * 30, then="#gac-set-max_new_tokens[aria-invalid=true]")
    assert note_of(page, "temperature") == "Type 0, or a number from 0.01 to 5."
    assert note_of(page, "max_new_tokens") == "Type a whole number from 1 to 32,768."
    summed_up(page, "to correct")
    page.page.keyboard.press("Escape")
    page.page.fill("#gac-prompt textarea", "hello")
    page.page.press("#gac-prompt textarea", "Enter")
    page.page.wait_for_selector(".gac-notice:has-text('Correct these settings: Maximum length (tokens), Temperature.')")
    assert page.page.evaluate("document.activeElement.id") == "gac-set-max_new_tokens"
    assert page.page.input_value("#gac-set-temperature") == ""
    page.page.fill("#gac-set-temperature", "0.7")
    page.page.fill("#gac-set-max_new_tokens", "12")
    summed_up(page, "temperature 0.7 · seed 0 · up to 12 tokens")
    page.fill("#gac-set-stop", "x" * 300, then="#gac-set-stop[aria-invalid=true]")
    assert "xxx" not in note_of(page, "stop")
    reload(page.page)
    summed_up(page, "to correct")
    page.page.fill("#gac-prompt textarea", "hello")
    page.page.press("#gac-prompt textarea", "Enter")
    page.page.wait_for_selector("#gac-set-stop:focus")  # under Research, which is closed at first
    page.page.fill("#gac-set-stop", "")
    page.ask("hello")


# As if the presets were saved where there were other members and settings.
GROW_OLD = """() => {
  const own = JSON.parse(localStorage.getItem("gac.presets"));
  Object.assign(own["warm <b>"], { no_such: 1, members: ["Large", "gone"] });
  localStorage.setItem("gac.presets", JSON.stringify(own));
}"""

SAVE_ELSEWHERE = """(name) => {
  const own = JSON.parse(localStorage.getItem("gac.presets"));
  localStorage.setItem("gac.presets", JSON.stringify({ ...own, [name]: {} }));
}"""


def test_presets_are_saved_named_and_deleted(serve: Server, open_page: Opener) -> None:
    page = open_page(serve())
    page.open_settings()
    choice = page.page.locator(".gac-presets select")
    assert choice.input_value() == "Defaults"
    assert choice.evaluate("select => getComputedStyle(select).appearance") == "auto"
    page.page.fill("#gac-set-temperature", "0.9")
    assert choice.locator("option:checked").inner_text() == "not saved"
    page.page.evaluate(SAVE_ELSEWHERE, "in another tab")
    page.page.click("text=Save as…")
    page.page.keyboard.type("warm <b>")
    page.page.keyboard.press("Enter")
    assert choice.input_value() == "warm <b>"
    choice.select_option("Defaults")
    summed_up(page, "greedy")
    assert page.page.input_value("#gac-set-temperature") == "0"
    page.page.evaluate(GROW_OLD)
    reload(page.page)
    page.open_settings()
    choice.select_option("warm <b>")
    summed_up(page, "temperature 0.9")
    assert choice.input_value() == "warm <b>"
    page.page.evaluate(SAVE_ELSEWHERE, "later")
    page.page.click(".gac-presets >> text=Delete")
    names = ["not saved", "Defaults", "in another tab", "later", "As in the paper", "Creative", "Cheapest"]
    assert choice.locator("option").all_inner_texts() == names
    choice.select_option("Cheapest")
    summed_up(page, "others asked below 30 %")
    assert "only where the gate is very unsure" in page.text(".gac-presets")


def test_a_member_switched_off_takes_no_part(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(PlantedEnsemble()))
    page.open_settings()
    page.page.locator("[data-member=Small]").get_by_role("checkbox").uncheck()
    summed_up(page, "only Large")
    page.page.get_by_label("Every step").wait_for(state="hidden")
    page.page.locator("[data-member=Large]").get_by_role("checkbox").uncheck()
    page.page.wait_for_selector("#gac-set-members-note:has-text('Leave at least one member on')")
    page.page.locator("[data-member=Large]").get_by_role("checkbox").check()
    page.page.keyboard.press("Escape")
    page.ask("hello")
    assert page.page.locator(".gac-card h3").all_inner_texts() == ["Ensemble", "Large"]
    assert page.page.locator(".gac-card h3 .gac-swatch").get_attribute("data-w") == "1", "its own colour"
    assert "Small" not in page.text(".gac-votes")


def test_a_change_during_a_check_is_checked_too(serve: Server, open_page: Opener) -> None:
    page = open_page(serve())
    page.open_settings()
    summed_up(page, "greedy")
    late: list[Route] = []
    page.page.route(CHECKS, lambda route: late.append(route))
    for temperature in ("0.3", "0.4"):
        with page.page.expect_request(CHECKS):
            page.page.fill("#gac-set-temperature", temperature)
    for route in late:
        route.continue_()
    summed_up(page, "temperature 0.4")
