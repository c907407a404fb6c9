"""What a visitor does on the page, over planted answers."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from gac_app.models.sources import Progress
from gac_app.services.members import MemberFact
from tests.browser.conftest import Opener, Server, Watched, wait_for_start
from tests.ui.planted import ANSWER, PlantedEnsemble

pytestmark = pytest.mark.browser

LONG = tuple(f" word{i}" for i in range(2000))


def keys(page: Watched, *names: str) -> None:
    for name in names:
        page.page.keyboard.press(name)


def inspected(page: Watched) -> str:
    return page.text(".gac-inspector header h3")


def test_streams_end_and_the_gate_shows(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(PlantedEnsemble(alone=("Paris", " was", ""))))
    page.ask("hello")
    assert page.text(".gac-ensemble .gac-text").startswith("Paris is the")
    assert page.painted("gac-gate") == [" is", "\n capital"]
    assert page.page.locator(".gac-fork:text('differs from token 2 on')").count() == 2
    assert page.page.locator(".gac-overlay > .gac-fork").count() == 2


def test_tokens_are_one_tab_stop_with_arrow_keys(serve: Server, open_page: Opener) -> None:
    page = open_page(serve())
    page.ask("hello")
    assert page.page.locator(".gac-ensemble .gac-text[tabindex='0'], .gac-ensemble .gac-text [tabindex]").count() == 1
    assert page.page.locator(".gac-member-notice").all_inner_texts() == ["Small terms", "Large terms"]
    page.page.locator(".gac-ensemble .gac-text").focus()
    keys(page, "ArrowRight", "ArrowRight", "Enter")
    page.page.wait_for_selector(".gac-inspector:not([hidden])")
    assert inspected(page) == "Token 3"
    keys(page, "End")
    page.page.wait_for_selector(f".gac-inspector h3:text-is('Token {len(ANSWER)}')")
    keys(page, "Escape")
    assert page.page.locator(".gac-inspector:not([hidden])").count() == 0
    assert page.page.evaluate("document.activeElement.tokens.current.tokens[0].index") == len(ANSWER) - 1
    assert page.text(".gac-spoken").startswith("End of the answer")


def test_n_goes_from_gated_token_to_gated_token(serve: Server, open_page: Opener) -> None:
    page = open_page(serve())
    page.ask("hello")
    page.leave_fields()
    for expected in (2, 4, 5, 2):
        keys(page, "n")
        page.page.wait_for_selector(f".gac-inspector h3:text-is('Token {expected}')")
    keys(page, "Escape", "Home", "ArrowRight", "ArrowRight", "n")  # from where the keyboard is
    page.page.wait_for_selector(".gac-inspector h3:text-is('Token 4')")


def test_a_token_says_who_drafted_it(serve: Server, open_page: Opener) -> None:
    page = open_page(serve())
    page.ask("hello")
    drafted = page.page.locator(".gac-draft")
    for position, told in [
        (2, "Drafted by Large, and accepted: it cost no forward pass of its own."),
        (5, "Another token was drafted from what stood before in the prompt or the answer, and rejected."),
    ]:
        page.click_token(position)
        page.page.wait_for_selector(f".gac-inspector h3:text-is('Token {position + 1}')")
        assert drafted.all_inner_texts() == [told]
    page.click_token(1)
    page.page.wait_for_selector(".gac-inspector h3:text-is('Token 2')")
    assert drafted.count() == 0


def test_keys_are_text_where_somebody_types(serve: Server, open_page: Opener) -> None:
    page = open_page(serve())
    page.ask("hello")
    page.page.focus("#gac-prompt textarea")
    page.page.keyboard.type("1n0x")
    assert page.page.input_value("#gac-prompt textarea") == "1n0x"
    assert "Best answer" in page.text(".gac-votes")
    keys(page, "Shift+Tab", "Enter")  # by a link, not over every button of the answers
    assert page.page.evaluate("document.activeElement.matches('.gac-ensemble .gac-text')")
    page.page.evaluate("document.querySelector('.gac-header .gac-skip').focus()")
    keys(page, "Enter")
    assert page.page.evaluate("document.activeElement.matches('#gac-prompt textarea')")


def test_branch_votes_and_undo(serve: Server, open_page: Opener) -> None:
    page = open_page(serve())
    page.ask("hello")
    page.click_token(1)
    page.page.click(".gac-branch >> nth=0")
    page.page.wait_for_selector("text=Branched at token 2")
    page.wait_for_end()
    assert page.text(".gac-ensemble .gac-text").startswith("Paris instead the")
    assert page.painted("gac-forced") == ["Paris instead"] * 3  # in the ensemble's answer and both members'
    page.leave_fields()
    keys(page, "2")
    page.page.wait_for_selector("text=Your choice: Small")
    page.page.click("text=/^Undo/")
    page.page.wait_for_selector("text=Best answer")
    page.leave_fields()
    keys(page, "x")
    page.page.wait_for_selector("text=Your choice: All bad")


def test_a_branch_says_which_token_was_swapped_and_for_what(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(), permissions=["clipboard-read", "clipboard-write"])
    page.ask("hello")
    page.click_token(1)
    page.page.click(".gac-branch >> nth=0")
    words = "token 2 of an earlier run: “␣instead” instead of “␣is”."
    page.page.wait_for_selector(f".gac-of-branch:has-text('{words}')")
    page.wait_for_end()
    assert page.page.locator('.gac-ring[data-kind="swap"]').count() == 3, "in every answer"
    page.page.hover("h1")
    page.page.mouse.move(*page.place_of(1))
    page.page.wait_for_selector("#gac-tip:has-text('Swapped in at the branch: “␣instead” instead of “␣is”')")
    page.click_token(1)
    page.page.wait_for_selector(".gac-verdict:has-text('instead of “␣is”')")
    page.page.keyboard.press("Escape")
    page.page.click(".gac-keep summary")
    page.page.click("text=Copy as Markdown")
    page.page.wait_for_selector(".gac-keep-note:has-text('Copied')")
    assert words in page.page.evaluate("navigator.clipboard.readText()")
    with page.page.expect_download() as download:
        page.page.click("text=Save as HTML")
    saved = download.value.path().read_text("utf-8")
    assert words in saved
    assert saved.count(' swapped"') + saved.count('"swapped"') == 3
    page.page.click("role=tab[name=History]")
    page.page.wait_for_selector(".gac-small:has-text('branch at token 2: “␣instead” instead of “␣is”')")
    page.page.click(".gac-run-open >> nth=1")
    page.page.wait_for_selector(f".gac-of-branch:has-text('{words}')")


def test_a_vote_while_it_streams_says_that_the_answers_go_on(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(PlantedEnsemble(pieces=LONG, pause_s=0.01)))
    page.ask("hello", and_wait=False)
    page.wait_for_tokens(6)
    assert "the answers continue" in page.text(".gac-votes-early")
    page.leave_fields()
    keys(page, "1")
    page.page.wait_for_selector("text=Your choice: Ensemble")
    count = page.page.evaluate("document.querySelector('.gac-ensemble .gac-text').tokens.count")
    page.wait_for_tokens(count + 6)
    page.page.click("text=/^Undo/")
    page.page.wait_for_selector("text=Best answer")
    page.page.click(".stop-button")
    page.wait_for_end()


def test_stop_and_run_again_mix_nothing(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(PlantedEnsemble(pieces=LONG, pause_s=0.01)))
    page.ask("first", and_wait=False)
    page.wait_for_tokens(6)
    page.page.click(".stop-button")
    page.wait_for_end()
    page.ask("second", and_wait=False)
    page.wait_for_tokens(4)
    assert page.text(".gac-ensemble .gac-text").strip().startswith("word0 word1")
    page.page.click(".stop-button")
    page.wait_for_end()


def test_enter_with_another_key_asks_too(serve: Server, open_page: Opener) -> None:
    page = open_page(serve())
    for key in ("Control+Enter", "Meta+Enter"):
        for prompt in (f"{key}, first", f"{key}, second"):
            page.page.fill("#gac-prompt textarea", prompt)
            page.page.press("#gac-prompt textarea", key)
            page.page.wait_for_selector(f".gac-asked h2:text-is('{prompt}')")


def test_a_reload_finds_the_run_still_going(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(PlantedEnsemble(pieces=LONG, pause_s=0.01)))
    page.ask("hello", and_wait=False)
    page.wait_for_tokens(6)
    assert "?run=" in page.page.url
    page.page.reload()
    page.page.wait_for_selector(".gac-asked h2:text-is('hello')")
    page.page.wait_for_selector("body.gac-is-live")
    # Gradio's script complains of the stream that the reload cut off.
    page.faults[:] = [fault for fault in page.faults if "AbortError" not in fault and "errored out" not in fault]
    count = page.page.evaluate("document.querySelector('.gac-ensemble .gac-text').tokens.count")
    page.wait_for_tokens(count + 6)
    page.page.click(".stop-button")
    page.wait_for_end()
    assert page.text(".gac-status").startswith("Stopped")
    page.page.reload()
    page.page.wait_for_selector(".gac-asked h2:text-is('hello')")
    page.page.click("#gac-new")
    page.page.wait_for_selector(".gac-empty")
    assert "run=" not in page.page.url


def test_an_address_that_names_no_run_says_so(serve: Server, open_page: Opener) -> None:
    page = open_page(serve())
    page.page.goto(page.page.url + "?run=" + "0" * 32 + "&tab=<b>&study=1&contestant=2")
    page.page.wait_for_selector(".gac-notice:text-is('There is no such run.')")
    assert page.page.locator(".gac-empty").is_visible()
    page.page.wait_for_url(page.url)


def test_an_earlier_turn_goes_on_in_its_conversation(serve: Server, open_page: Opener) -> None:
    page = open_page(serve())
    page.ask("first")
    page.ask("second")
    page.page.click(".gac-turns button")
    page.page.wait_for_selector(".gac-asked h2:text-is('first')")
    page.page.wait_for_selector(".gac-hint:has-text('continues after the last turn')")
    assert page.page.locator(".gac-turns li").count() == 2
    assert page.text(".gac-turns [aria-current]").startswith("first")
    page.ask("third")
    assert page.page.locator(".gac-turns .gac-turn-prompt").all_inner_texts() == ["first", "second"]


def test_back_and_forward_go_from_run_to_run_and_tab_to_tab(serve: Server, open_page: Opener) -> None:
    page = open_page(serve())
    shown = "role=tab[name={}][selected=true]"
    page.ask("first")
    page.ask("second")
    page.page.click("role=tab[name=History]")
    page.page.wait_for_url("**/?run=*&tab=history")
    page.page.click(".gac-runs li >> nth=0 >> .gac-run-open")
    page.page.wait_for_selector(".gac-asked h2:text-is('first')")
    page.page.go_back()
    page.page.wait_for_selector(shown.format("History"))
    page.page.wait_for_selector(".gac-asked h2:text-is('second')", state="attached")
    page.page.reload()
    page.page.wait_for_selector(shown.format("History"))
    page.page.wait_for_selector(".gac-asked h2:text-is('second')", state="attached")
    page.page.go_back()
    page.page.wait_for_selector(shown.format("Compare"))
    assert page.text(".gac-asked h2") == "second"
    page.page.go_back()
    page.page.wait_for_selector(".gac-asked h2:text-is('first')")
    assert page.page.locator(".gac-turns li").count() == 2
    page.page.go_back()
    page.page.wait_for_selector(".gac-empty")
    page.page.go_forward()
    page.page.wait_for_selector(".gac-asked h2:text-is('first')")
    page.page.go_forward()
    page.page.wait_for_selector(".gac-asked h2:text-is('second')")
    assert page.page.evaluate("location.search").count("=") == 1


def test_a_failing_member_says_so_while_the_others_go_on(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(PlantedEnsemble(failing="Large")))
    page.ask("hello")
    assert "planted failure" in page.text(".gac-card >> nth=2")
    assert page.page.locator(".gac-card >> nth=1").get_attribute("data-state") == "finished"
    assert page.text(".gac-ensemble .gac-text").startswith("Paris is the")


def test_history_survives_a_reload_and_can_be_emptied(serve: Server, open_page: Opener) -> None:
    page = open_page(serve())
    page.ask("remember me")
    page.page.reload()
    wait_for_start(page.page)
    page.page.click("role=tab[name=History]")
    page.page.click(".gac-run-open")
    page.page.wait_for_selector(".gac-asked h2:text-is('remember me')")
    page.click_token(1)
    page.page.wait_for_selector(".gac-branch")
    page.page.click("role=tab[name=History]")
    page.page.click("text=Delete all my data")
    page.page.click(".gac-dialog >> text=Keep")
    assert page.page.locator(".gac-runs li").count() == 1
    page.page.click("text=Delete all my data")
    page.page.click(".gac-dialog button[value=delete]")
    page.page.wait_for_selector("text=All your data is deleted.")
    assert page.page.locator(".gac-runs li").count() == 0
    page.page.click("role=tab[name=Compare]")
    page.page.wait_for_selector(".gac-empty")


def test_a_deleted_turn_leaves_the_list_and_the_page_says_so(serve: Server, open_page: Opener) -> None:
    page = open_page(serve())
    page.ask("delete me")
    page.ask("keep me")
    assert "delete me" in page.text(".gac-turns")
    page.page.click("role=tab[name=History]")
    page.page.click("role=button[name='Delete: delete me']")
    page.confirm_deletion()
    page.page.click("role=tab[name=Compare]")
    assert page.text(".gac-turns") == "1 earlier turn was deleted. The conversation continues without it."
    page.ask("and on")
    assert "delete me" not in page.text("body")
    assert "keep me" in page.text(".gac-turns")


def test_a_run_that_is_not_stored_says_so_until_it_is(serve: Server, open_page: Opener, tmp_path: Path) -> None:
    page = open_page(serve())
    lock = sqlite3.connect(tmp_path / "runs.sqlite3", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    page.ask("hello")
    page.page.wait_for_selector(".gac-status:has-text('not saved yet')")
    lock.execute("ROLLBACK")
    lock.close()
    page.page.wait_for_selector(".gac-status:not(:has-text('not saved'))")
    page.page.click("role=tab[name=History]")
    page.page.wait_for_selector(".gac-run-prompt:text-is('hello')")


def test_two_visitors_see_only_their_own(serve: Server, open_page: Opener) -> None:
    site = serve()
    first, second = open_page(site), open_page(site)
    first.ask("mine alone")
    second.ask("quite another")
    second.page.click("role=tab[name=History]")
    second.page.wait_for_selector(".gac-run-prompt")
    assert second.text(".gac-runs").count("quite another") == 1
    assert "mine alone" not in second.text("body")


def test_an_empty_prompt_gets_a_word_and_no_run(serve: Server, open_page: Opener) -> None:
    page = open_page(serve())
    page.page.fill("#gac-prompt textarea", "   ")
    page.page.press("#gac-prompt textarea", "Enter")
    page.page.wait_for_selector(".gac-notice:text-is('Enter a prompt.')")
    assert page.page.locator(".gac-empty").is_visible()
    page.page.click("#gac-examples :text-is('First example')")
    assert page.page.input_value("#gac-prompt textarea") == "First example"
    page.page.click("#gac-examples .gac-at-once")
    page.page.wait_for_selector(".gac-asked h2:text-is('First example')")
    page.wait_for_end()


def test_chips_follow_the_members_until_they_are_ready(serve: Server, open_page: Opener) -> None:
    site = serve()
    ensemble, site.service.members._ensemble = site.service.members._ensemble, None
    site.service.members.set_fetching("Small", Progress(42_000_000, 100_000_000, bytes_per_s=2_300_000.0))
    site.service.members.set("Large", "waiting", detail="its server loads")
    page = open_page(site)
    page.page.wait_for_selector(".gac-chip-notes [role=alert]:has-text('its server loads')")
    site.service.members.set("Large", "failed", detail="no network")
    page.page.wait_for_selector(".gac-chips :text('fetching 42 % · 2.3 MB/s · 25 s left')")
    page.page.wait_for_selector(".gac-chip-notes [role=alert]:has-text('no network')")
    assert "Large terms" in page.text(".gac-notices")
    page.page.fill("#gac-prompt textarea", "too early")
    page.page.press("#gac-prompt textarea", "Enter")
    page.page.wait_for_selector(".gac-notice:has-text('could not be loaded')")
    assert page.page.input_value("#gac-prompt textarea") == "too early"
    site.service.members.set("Small", "ready")
    site.service.members.set("Large", "ready")
    site.service.members._ensemble = ensemble
    page.page.wait_for_selector(".gac-chips li[data-phase=ready] >> nth=1")
    page.page.wait_for_selector(".gac-notice", state="hidden")  # what it said is over
    page.page.press("#gac-prompt textarea", "Enter")
    page.page.wait_for_selector(".gac-asked h2:text-is('too early')")
    page.wait_for_end()


def test_nothing_overflows(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(), viewport={"width": 390, "height": 900})
    page.ask("hello")
    page.click_token(1)
    page.page.wait_for_selector(".gac-branch")
    for width in page.at_widths(390, 768, 1280, 1920):
        for scheme in page.in_both_schemes():
            assert page.page.evaluate("document.documentElement.scrollWidth") <= width, scheme


def test_every_tab_has_the_same_place(serve: Server, open_page: Opener) -> None:
    page = open_page(serve())
    places = []
    for name, content in [("Compare", ".gac-board"), ("History", ".gac-history"), ("About", "#gac-about")]:
        page.page.click(f"role=tab[name={name}]")
        box = page.page.wait_for_selector(content).bounding_box()
        assert box is not None
        places.append((box["x"], box["width"]))
    assert places[0] == places[1] == places[2]


def test_waiting_is_explained(serve: Server, open_page: Opener) -> None:
    ensemble = PlantedEnsemble(pieces=LONG, pause_s=0.01)
    site = serve(ensemble, max_running=1)
    first, second = open_page(site), open_page(site)
    first.ask("first", and_wait=False)
    first.wait_for_tokens(2)
    second.ask("second", and_wait=False)
    second.page.wait_for_selector(
        ".gac-status:text-matches('In the queue, 1 ahead · [0-9]+ s · 1 other run at the same')"
    )
    ensemble.shares_read, ensemble.pause_s = {"Small": 0.25, "Large": 0.5}, 60.0
    first.page.click(".stop-button")
    second.page.wait_for_selector(".gac-status:text-matches('Reading the prompt: 25 % · [0-9]+ s')")
    speeds = second.page.locator(".gac-card .gac-speed:first-child").all_inner_texts()
    assert speeds == ["reading 25 %", "reading 25 %", "reading 50 %"]
    second.page.click(".stop-button")
    second.wait_for_end()


def test_a_member_has_a_card(serve: Server, open_page: Opener) -> None:
    site = serve()
    facts = (MemberFact("Size", "494 M parameters", is_brief=True), MemberFact("Licence", "<i>apache-2.0</i>"))
    site.service.members.set("Large", "ready", facts=facts)
    page = open_page(site)
    page.page.get_by_role("button", name="Large").click()
    card = page.page.locator("[data-member=Large]")
    assert "494 M parameters" in card.inner_text()
    page.page.wait_for_selector("[data-member=Large] dd:text-is('<i>apache-2.0</i>')")
    assert page.page.evaluate("Boolean(document.activeElement.closest('[data-member=Large]'))")


def test_a_draft_outlives_a_reload_until_it_is_asked(serve: Server, open_page: Opener) -> None:
    page = open_page(serve())
    page.page.fill("#gac-prompt textarea", "half a question")
    page.page.reload()
    wait_for_start(page.page)
    page.page.wait_for_function("document.querySelector('#gac-prompt textarea').value === 'half a question'")
    page.page.click("#gac-prompt .submit-button")
    page.page.wait_for_selector(".gac-asked :text('half a question')")
    page.page.wait_for_selector("body:not(.gac-is-live)")
    page.page.reload()
    wait_for_start(page.page)
    assert page.page.input_value("#gac-prompt textarea") == ""
