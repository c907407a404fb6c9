"""What a visitor does on the page, over planted answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Route

from gac_app.models.sources import Progress
from gac_app.services.members import MemberFact
from gac_app.ui.compare.records import PIECE
from tests.browser.conftest import CALLS, Opener, Server, Watched, reload, wait_for_start
from tests.databases import locked
from tests.ui.planted import ANSWER, PlantedEnsemble

pytestmark = pytest.mark.browser

LONG = tuple(f" word{i}" for i in range(2000))


def keys(page: Watched, *names: str) -> None:
    for name in names:
        page.page.keyboard.press(name)


def wait_for_token(page: Watched, number: int) -> None:
    """Until the inspector shows it."""
    page.page.wait_for_selector(f".gac-inspector h3:text-is('Token {number}')")


def test_tokens_votes_and_the_prompt_by_keyboard(serve: Server, open_page: Opener) -> None:
    page = open_page(serve())
    page.ask("hello")
    assert page.page.locator(".gac-ensemble .gac-text[tabindex='0'], .gac-ensemble .gac-text [tabindex]").count() == 1
    assert page.page.locator(".gac-member-notice").all_inner_texts() == ["Small terms", "Large terms"]
    page.page.locator(".gac-ensemble .gac-text").focus()
    keys(page, "ArrowRight", "ArrowRight", "Enter")
    wait_for_token(page, 3)
    told = ["Drafted by Large, and accepted: it cost no forward pass of its own."]
    assert page.page.locator(".gac-draft").all_inner_texts() == told
    keys(page, "End")
    wait_for_token(page, len(ANSWER))
    keys(page, "Escape")
    assert page.page.locator(".gac-inspector:not([hidden])").count() == 0
    assert page.page.evaluate("document.activeElement.tokens.current.tokens[0].index") == len(ANSWER) - 1
    assert page.text(".gac-spoken").startswith("End of the answer")
    page.leave_fields()
    for expected in (5, 5):  # to the one change, and round
        keys(page, "n")
        wait_for_token(page, expected)
    assert page.page.locator(".gac-draft").count() == 0
    keys(page, "Escape", "Home", "ArrowRight", "ArrowRight", "n")  # from where the keyboard is
    wait_for_token(page, 5)
    page.page.wait_for_selector(".gac-spoken:text-matches('^Token 5 ')", state="attached")
    keys(page, "Enter")
    assert page.page.evaluate("Boolean(document.activeElement.closest('.gac-inspector'))")
    keys(page, "Escape")
    assert page.page.get_attribute(".gac-of-gate button", "aria-description").startswith("The gate is one member")
    page.page.focus("#gac-prompt textarea")
    page.page.keyboard.type("1n0x")
    assert page.page.input_value("#gac-prompt textarea") == "1n0x", "keys are text where somebody types"
    assert "Best answer" in page.text(".gac-votes")
    keys(page, "Shift+Tab", "Enter")  # by a link, not over every button of the answers
    assert page.page.evaluate("document.activeElement.matches('.gac-ensemble .gac-text')")
    page.page.evaluate("document.querySelector('.gac-header .gac-skip').focus()")
    keys(page, "Enter")
    assert page.page.evaluate("document.activeElement.matches('#gac-prompt textarea')")


UNDO, MORE, ITEM = ".gac-votes .gac-button", ".gac-asked summary", ".gac-asked .gac-keep-items button:text-is('{}')"
HISTORY, RUN = "button[role=tab]:visible:text-is('History')", ".gac-runs summary"


def test_the_focus_is_not_lost_with_what_had_it(serve: Server, open_page: Opener) -> None:
    """Enter on each; the menu of a run deleted in History gives way to the next run's."""
    page = open_page(serve())
    page.page.evaluate("gac['compare/compare'].board.then((board) => { window.board = board; })")
    page.ask("hello")
    for pressed, focused in (
        (".gac-vote >> nth=1", UNDO), (UNDO, ".gac-vote"),
        (MORE, MORE), (ITEM.format("Run again"), MORE), (".gac-ensemble .gac-keep summary", ".gac-ensemble summary"),
        (".gac-ensemble .gac-keep-items button:text-is('Regenerate')", ".gac-ensemble .gac-keep summary"),
        ("[aria-label='Older version']", "[aria-label='Older version'], [aria-label='Newer version']"),
        (HISTORY, HISTORY), (".gac-run-open", ".gac-asked h2"), (HISTORY, HISTORY), (RUN, RUN),
        (".gac-runs [open] .gac-danger", ".gac-dialog button"), (".gac-dialog .gac-danger", RUN),
    ):  # fmt: skip
        page.page.focus(pressed)
        keys(page, "Enter")
        page.page.wait_for_function("!board.isBusy && !board.isLive")
        page.page.locator(focused).and_(page.page.locator(":focus")).wait_for()
        if focused == UNDO:
            left = page.text(UNDO)
            page.page.wait_for_timeout(1100)
            assert page.text(UNDO) == left, "it waits"
    page.page.goto(f"{page.page.url.partition('?')[0]}?tab=about")
    wait_for_start(page.page)
    page.page.wait_for_timeout(1000)
    assert page.page.evaluate("document.activeElement.tagName") == "BODY", "no key was pressed"


def test_a_branch_says_what_was_swapped_and_is_voted_on(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(), permissions=["clipboard-read", "clipboard-write"])
    page.ask("hello")
    page.click_token(1)
    page.page.click(".gac-branch >> nth=0")
    words = "token 2: “␣instead” instead of “␣is”"
    page.page.wait_for_selector(f".gac-of-branch:has-text('{words}')")
    page.wait_for_end()
    assert page.text(".gac-ensemble .gac-text").startswith("Paris instead the")
    assert page.painted("gac-forced") == ["Paris instead"] * 3, "in every answer"
    assert page.page.locator('.gac-ring[data-kind="swap"]').count() == 3
    page.page.hover("h1")
    page.page.mouse.move(*page.place_of(1))
    page.page.wait_for_selector("#gac-tip:has-text('Swapped in at the branch: “␣instead” instead of “␣is”')")
    page.click_token(1, then=".gac-verdict:has-text('instead of “␣is”')")
    page.page.keyboard.press("Escape")
    page.leave_fields()
    keys(page, "2")
    page.page.wait_for_selector("text=Your choice: Small")
    page.click("text=/^Undo/", then="text=Best answer")
    page.leave_fields()
    keys(page, "x")
    page.page.wait_for_selector("text=Your choice: All bad")
    page.click(".gac-keep summary", "text=Copy as Markdown", then=".gac-keep-note:has-text('Copied')")
    assert words in page.page.evaluate("navigator.clipboard.readText()")
    with page.page.expect_download() as download:
        page.page.click("text=Save as HTML")
    saved = download.value.path().read_text("utf-8")
    assert words in saved
    assert saved.count(' swapped"') + saved.count('"swapped"') == 3
    page.page.click("role=tab[name=History]")
    page.page.wait_for_selector(".gac-runs .gac-small:has-text('Branched at token 2: “␣instead” instead of “␣is”')")
    page.click(".gac-run-open >> nth=1", then=f".gac-of-branch:has-text('{words}')")


def test_a_live_run_outlives_a_vote_and_a_reload(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(PlantedEnsemble(pieces=LONG, pause_s=0.05)))
    page.ask("first", and_wait=False)
    page.wait_for_tokens(6)
    assert "the answers continue" in page.text(".gac-votes-early")
    page.leave_fields()
    keys(page, "1")
    page.page.wait_for_selector("text=Your choice: Ensemble")
    page.click("text=/^Undo/", then="text=Best answer")
    wait_for_more(page)
    page.page.click(".stop-button")
    page.wait_for_end()
    page.ask("second", and_wait=False)
    page.wait_for_tokens(4)
    assert page.text(".gac-ensemble .gac-text").strip().startswith("word0 word1"), "nothing is mixed"
    assert "?run=" in page.page.url
    page.page.reload()
    page.page.wait_for_selector(".gac-asked h2:text-is('second')")
    page.page.wait_for_selector("body.gac-is-live")
    wait_for_more(page)
    page.page.click(".stop-button")
    page.wait_for_end()
    assert page.text(".gac-status").startswith("Stopped")
    page.page.reload()
    page.page.wait_for_selector(".gac-asked h2:text-is('second')")
    page.click("#gac-new", then="#gac-prompt textarea:focus")
    page.page.wait_for_selector(".gac-empty")
    assert "run=" not in page.page.url


def wait_for_more(page: Watched) -> None:
    """Until the ensemble's answer has grown."""
    page.wait_for_tokens(6 + page.page.evaluate("document.querySelector('.gac-ensemble .gac-text').tokens.count"))


def test_back_and_forward_go_from_run_to_run_and_tab_to_tab(serve: Server, open_page: Opener) -> None:
    page = open_page(serve())
    shown = "role=tab[name={}][selected=true]"
    page.ask("first")
    page.ask("second")
    page.page.click("role=tab[name=History]")
    page.page.wait_for_url("**/?run=*&tab=history")
    page.click(".gac-runs li >> nth=0 >> .gac-run-open", then=".gac-asked h2:text-is('first')")
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
    page.page.go_back()
    page.page.wait_for_selector(".gac-empty")
    page.page.go_forward()
    page.page.wait_for_selector(".gac-asked h2:text-is('first')")
    page.page.go_forward()
    page.page.wait_for_selector(".gac-asked h2:text-is('second')")
    assert page.page.evaluate("location.search").count("=") == 1
    page.page.click(".gac-turns button")  # the first turn, which goes on in its conversation
    page.page.wait_for_selector(".gac-asked h2:text-is('first')")
    page.page.wait_for_selector(".gac-hint:has-text('continues after the last turn')")
    assert page.page.locator(".gac-turns li").count() == 2
    assert page.text(".gac-turns [aria-current]").startswith("first")
    page.ask("third")
    assert page.page.locator(".gac-turns .gac-turn-prompt").all_inner_texts() == ["first", "second"]


def test_prompts_by_keys_examples_and_drafts(serve: Server, open_page: Opener) -> None:
    box = "#gac-prompt textarea"
    page = open_page(serve())
    page.page.goto(page.page.url + "?run=" + "0" * 32 + "&tab=<b>&study=1&contestant=2")
    page.page.wait_for_selector(".gac-notice:text-is('This run is private or deleted. Its owner can share it.')")
    page.page.wait_for_url(f"{page.url}?run={'0' * 32}")  # a reload asks again
    page.page.fill(box, "   ")
    page.page.press(box, "Enter")
    page.page.wait_for_selector(".gac-notice:text-is('Enter a prompt.')")
    assert page.page.locator(".gac-empty").is_visible()
    page.click("#gac-examples :text-is('First example')", then=".gac-asked h2:text-is('First example')")
    for key in ("Control+Enter", "Meta+Enter"):
        page.page.fill(box, key)
        page.page.press(box, key)
        page.page.wait_for_selector(f".gac-asked h2:text-is('{key}')")
    page.wait_for_end()
    page.page.fill(box, "half a question")
    # All is kept before the page is left, since a tab that crashes runs no script.
    page.page.wait_for_function("sessionStorage.getItem('gac.draft.compare') === 'half a question'")
    assert "?run=" in page.page.url
    for leave in (page.page.reload, lambda: (page.page.goto("about:blank"), page.page.go_back())):
        leave()
        wait_for_start(page.page)
        page.page.wait_for_function("document.querySelector('#gac-prompt textarea').value === 'half a question'")
        page.page.wait_for_selector(".gac-asked h2")  # the run of the address, which may come before the draft is read
    page.click("#gac-prompt .submit-button", then=".gac-asked :text('half a question')")
    page.wait_for_end()
    reload(page.page)
    assert page.page.input_value(box) == ""


def test_what_the_host_refuses_is_not_awaited(serve: Server, open_page: Opener) -> None:
    page = open_page(serve())
    page.ask("first")
    page.page.fill("#gac-prompt textarea", "second")
    page.page.route("**/queue/join*", lambda route: route.fulfill(status=429, json={"detail": "too many"}))
    for ask in (lambda: page.choose("Run again"), lambda: page.page.press("#gac-prompt textarea", "Enter")):
        with page.page.expect_response("**/queue/join*"):
            ask()
        page.page.wait_for_selector(".gac-status:not(:text('Starting'))")
    page.faults.clear()  # what failed to load


def test_what_is_wrong_with_an_answer_is_said(serve: Server, open_page: Opener) -> None:
    loop = tuple(f" w{i}" for i in range(9))
    alone = ("Well", *loop * 3, " no")
    page = open_page(serve(PlantedEnsemble(pieces=("Well", *loop * 4), alone=alone, failing="Large")))
    page.ask("hello")
    assert "planted failure" in page.text(".gac-card >> nth=2")
    assert page.page.locator(".gac-card >> nth=1").get_attribute("data-state") == "finished"
    repeats = page.page.get_by_text("repeats itself from token 11 on")
    assert (repeats.count(), page.page.locator(".gac-ensemble .gac-loop").count()) == (1, 1), "three times, not two"
    repeats.click()
    page.page.wait_for_selector(".gac-inspector h3:text-is('Token 11')")


BACK_BEFORE_THE_RUN_CAME = """() => gac['compare/compare'].board.then((board) => {
  Object.assign(board, { run: null }).reconnect(window.asked = null);
  return window.asked; })"""


def test_a_server_that_is_gone_is_told_until_it_is_back(serve: Server, open_page: Opener) -> None:
    """What was being written then is opened again."""
    page = open_page(serve(PlantedEnsemble(pieces=LONG, pause_s=0.1)))
    page.ask("hello", and_wait=False)
    page.page.route("**/healthz", lambda route: route.fulfill(status=429))
    page.page.evaluate("""gac['compare/compare'].board.then((board) => {
      board.pulse.hear = () => {};
      board.trigger = (event) => { window.asked = event; }; })""")
    for _ in range(2):  # at the second, what the first told is shown
        page.page.wait_for_event("response", lambda response: response.status == 429)
    assert "The server is gone" not in page.text(".gac-status"), "it refuses, so it is there"
    page.page.unroute_all()
    page.page.route("**/healthz", lambda route: route.abort())
    page.page.wait_for_selector(".gac-status:has-text('The server is gone')")
    page.faults.clear()  # what failed to load
    page.page.unroute_all()
    page.page.wait_for_function("window.asked === 'open'")
    assert page.text(".gac-status") == "Starting…"
    assert page.page.evaluate(BACK_BEFORE_THE_RUN_CAME) == "open", "what the address names is opened too"
    page.faults.clear()


def test_a_run_that_is_not_stored_says_so_until_it_is(serve: Server, open_page: Opener, tmp_path: Path) -> None:
    page = open_page(serve())
    with locked(tmp_path / "runs.sqlite3"):
        page.ask("hello")
        page.page.wait_for_selector(".gac-status:has-text('not saved yet')")
    page.page.wait_for_selector(".gac-status:not(:has-text('not saved'))")
    page.click("role=tab[name=History]", then=".gac-run-prompt:text-is('hello')")


def test_chips_follow_the_members_until_they_are_ready(serve: Server, open_page: Opener) -> None:
    site = serve()
    facts = (MemberFact("Size", "494 M parameters", is_brief=True), MemberFact("Licence", "<i>apache-2.0</i>"))
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
    site.service.members.set("Large", "ready", facts=facts)
    site.service.members._ensemble = ensemble
    page.page.wait_for_selector(".gac-chips li[data-phase=ready] >> nth=1", state="attached")
    page.page.wait_for_selector(".gac-notice", state="hidden")  # what it said is over
    page.page.press("#gac-prompt textarea", "Enter")
    page.page.wait_for_selector(".gac-asked h2:text-is('too early')")
    page.wait_for_end()
    assert page.page.is_hidden(".gac-chips"), "they say nothing once all are ready"
    page.open_settings()
    card = page.page.locator("[data-member=Large]")
    assert "494 M parameters" in card.inner_text()
    card.locator("summary").click()
    page.page.wait_for_selector("[data-member=Large] dd:text-is('<i>apache-2.0</i>')")


def test_waiting_is_explained(serve: Server, open_page: Opener) -> None:
    ensemble = PlantedEnsemble(pieces=LONG, pause_s=0.01)
    site = serve(ensemble, max_running=1)
    first, second = open_page(site), open_page(site)
    first.ask("first", and_wait=False)
    first.wait_for_tokens(2)
    second.ask("second", and_wait=False)
    second.page.wait_for_selector(
        ".gac-status:text-matches('In the queue, 1 ahead · [0-9]+ s · other runs at the same time: 1')"
    )
    ensemble.shares_read, ensemble.pause_s = {"Small": 0.25, "Large": 0.5}, 60.0
    first.page.click(".stop-button")
    second.page.wait_for_selector(".gac-status:text-matches('Reading the prompt: 25 % · [0-9]+ s')")
    speeds = second.page.locator(".gac-card .gac-speed").all_inner_texts()
    assert speeds == [f"Reading the prompt: {share} %" for share in (25, 25, 50)]
    second.page.click(".stop-button")
    second.wait_for_end()


NUM_TOKENS = 2 * PIECE + 100
PIECES = [f"word{position}\n" if position % 9 == 8 else f"word{position} " for position in range(NUM_TOKENS)]
PARTED_AT = PIECE + 5


def test_a_long_run_shows_its_text_then_its_tokens(serve: Server, open_page: Opener) -> None:
    alone = [*PIECES[:PARTED_AT], "other ", *PIECES[PARTED_AT + 1 :], ""]
    site = serve(PlantedEnsemble([*PIECES, ""], alone=alone))
    page = open_page(site, permissions=["clipboard-read", "clipboard-write"])
    page.ask("Say much")
    site.service._runs.remove(site.service._runs.all())  # as after a restart
    held: list[Route] = []
    is_holding = True

    def hold(route: Route) -> None:
        if is_holding and "read_tokens" in (route.request.post_data or ""):
            held.append(route)
        else:
            route.continue_()

    page.page.route(CALLS, hold)
    page.page.reload()
    page.wait_for_tokens(PIECE)
    assert page.text(".gac-ensemble .gac-text").split() == "".join(PIECES).split(), "before the tokens have come"
    assert page.page.locator(".gac-end").count() == 0
    page.page.click(".gac-keep summary")
    page.page.click("text=Copy as Markdown")
    is_holding = False
    for route in held:
        route.continue_()

    page.page.wait_for_function("document.querySelectorAll('.gac-end').length === 3")
    page.wait_for_tokens(NUM_TOKENS + 1)
    page.page.wait_for_selector(".gac-keep-note:text-is('Copied')")
    copied = page.page.evaluate("navigator.clipboard.readText()")
    assert f"*{NUM_TOKENS + 1:,} tokens ·" in copied, "once all is there"
    page.page.click(".gac-keep summary")
    assert page.text(".gac-ensemble .gac-text").split() == "".join(PIECES).split(), "nothing is written twice"
    page.page.wait_for_selector(".gac-subline .gac-fork:not([hidden]) >> nth=1")
    for place in (0, 1):  # What differs is shown where it begins.
        page.page.locator(".gac-subline .gac-fork").nth(place).click()
        page.page.wait_for_selector(f".gac-inspector :text('Token {PARTED_AT + 1:,}')")
        page.page.keyboard.press("Escape")
    page.click_token(NUM_TOKENS - 1, then=f".gac-inspector :text('word{NUM_TOKENS - 1}')")
