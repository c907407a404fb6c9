"""The Arena in a browser: a blind battle from the prompt to the names, by mouse and by keys, wide and narrow."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Error, Page, Route

from tests.browser.conftest import CALLS, Opener, Server, click, loading, press, refused, reload, to_tab
from tests.browser.test_axe import all_findings, with_axe
from tests.ui.planted import PlantedEnsemble

pytestmark = pytest.mark.browser

SAID = ("# Paris\n", "\n", "It", " is", " **the**", " capital", " <i>of</i>", " France", ".", "")
LONG = (*(f" word{number}" for number in range(4000)), "")
BOX, LISTENS = ".gac-arena-form textarea", ".gac-arena-send:not(:empty)"  # its script has begun


def to_arena(page: Page) -> Page:
    to_tab(page, "Battle", then=LISTENS)
    return page


def begin(page: Page, prompt: str = "Where is Paris?") -> None:
    page.fill(BOX, prompt)
    page.press(BOX, "Enter")
    page.wait_for_selector(f".gac-arena-asked:text-is('{prompt}')")


def answered(page: Page) -> None:
    page.wait_for_selector(".gac-arena .gac-status:has-text('Both answers are there')")


def ask_two(page: Page, prompt: str = "Where is Paris?") -> None:
    begin(page, prompt)
    answered(page)


def texts(page: Page) -> list[str]:
    return page.locator(".gac-battle-card .gac-text").all_text_contents()


def names(page: Page) -> list[str]:
    return page.locator(".gac-battle-card h3 bdi").all_inner_texts()


def overheard(page: Page) -> list[str]:
    """Everything that goes over the wire from now on; streams by what the page makes of them."""
    heard: list[str] = []

    def on_response(response: Any) -> None:
        is_program = "/assets/" in response.url or response.url.split("?")[0].endswith(".js")
        if "/queue/data" not in response.url and not is_program:
            heard.append(response.url)
            with suppress(Error):  # a stream that was left, or a body that is gone
                heard.append(response.text())

    page.on("response", on_response)
    page.on("request", lambda request: heard.append(f"{request.url} {request.post_data}"))
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.on("Network.eventSourceMessageReceived", lambda message: heard.append(message["data"]))
    return heard


def test_nothing_names_a_contestant_before_the_vote_counts(serve_arena: Server, open_page: Opener) -> None:
    page = open_page(serve_arena(PlantedEnsemble(SAID)), is_new=True).page
    heard = overheard(page)
    to_arena(page)
    ask_two(page)
    sources = [page.content()]
    click(page, ".gac-arena-own summary", then=".gac-arena-own p:text-is('None')")
    sources.append(page.content())
    for text in (*sources, *heard):
        assert "zyx" not in text
    for text in heard:
        assert not re.search(r"member:|every-step|\"winner\"|tokens_per_s", text), text

    press(page, "2", then=".gac-battle-card h3 bdi")
    assert all(name.startswith("zyx") for name in names(page))
    assert any("zyx" in text for text in heard), "the search finds names where they are told"
    while not any("France" in text for text in heard):  # the answers are overheard too, the tokens at the latest
        page.wait_for_timeout(20)


def test_a_battle_by_keyboard_alone(serve_arena: Server, open_page: Opener) -> None:
    page = (watched := open_page(serve_arena(PlantedEnsemble(SAID)))).page
    page.focus("#gac-prompt textarea")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement === document.body"), "where keys are not typed"
    to_arena(page)
    page.focus(BOX)
    page.keyboard.type("Where is Paris?")
    page.keyboard.press("Enter")
    answered(page)
    assert texts(page) == [" ParisIt is the capital <i>of</i> France."] * 2
    for _ in watched.at_widths(390, 1280):
        boxes = page.locator(".gac-battle-card").evaluate_all("all => all.map((c) => [c.offsetWidth, c.offsetHeight])")
        assert boxes[0] == boxes[1]
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    assert page.evaluate("document.activeElement.matches('.gac-arena-told')"), "where the keys of the buttons vote"
    press(page, "2", then=".gac-arena-told:has-text('Your choice: Answer B')")
    assert page.input_value(BOX) == ""
    page.keyboard.press("1")
    assert page.inner_text(".gac-arena-told") == "Your choice: Answer B", "a vote is final"
    [facts, _] = page.locator(".gac-battle-facts").all()
    assert facts.bounding_box()["height"] < 24, "the reveal is one line"  # type: ignore[index]
    for width in watched.at_widths(390, 1280):
        page.wait_for_timeout(100)
        box = page.locator(".gac-arena [data-act=again]").bounding_box()
        assert box
        assert box["y"] + box["height"] <= 900, (width, "the next battle is at hand")
    page.wait_for_selector(".gac-arena-views [value=changes]", state="attached")

    page.locator(".gac-battle-card .gac-text").first.focus()
    page.keyboard.press("ArrowRight")
    press(page, "Enter", then=".gac-arena .gac-inspector:not([hidden]) .gac-bars")
    press(page, "Escape", then=".gac-arena .gac-inspector", state="hidden")
    press(page, "?", then=".gac-keys")


def test_a_question_to_two_waits_for_the_models(serve_arena: Server, open_page: Opener) -> None:
    awaits = ".gac-arena-hint:has-text('Will be asked as soon as the models are ready')"
    site = serve_arena(PlantedEnsemble(SAID))
    with loading(site.service):
        page = open_page(site).page
        page.wait_for_selector(".gac-chips li[data-phase=loading]")
        to_arena(page)
        page.fill(BOX, "Where is Paris?")
        page.press(BOX, "Enter")
        page.wait_for_selector(awaits)
        page.wait_for_timeout(700)  # a second click so soon is not meant
        click(page, ".gac-arena-send:text-is('Cancel')", then=awaits, state="detached")
        click(page, ".gac-arena-send:text-is('Begin')", then=awaits)
        page.reload()
        to_arena(page)
        page.wait_for_selector(awaits)
        assert page.input_value(BOX) == "Where is Paris?"
    page.wait_for_selector(".gac-arena-asked:text-is('Where is Paris?')")
    answered(page)


def test_an_early_vote_ends_both_and_tells_names(serve_arena: Server, open_page: Opener) -> None:
    page = to_arena(open_page(serve_arena(PlantedEnsemble(LONG, pause_s=0.02))).page)
    begin(page)
    page.wait_for_function("document.querySelector('.gac-battle-card .gac-text')?.textContent.length > 60")
    left, right = texts(page)
    assert abs(len(left) - len(right)) <= 1, "both are shown at one pace"
    page.evaluate("window.held = []; void (requestAnimationFrame = (draw) => held.push(draw))")
    page.wait_for_function("held.length", polling=50)  # an update comes after the vote
    press(page, "1", then=".gac-arena-views [value=changes]", state="attached")
    page.evaluate("requestAnimationFrame = setTimeout; held.forEach((draw) => draw())")
    assert len(names(page)) == 2
    for text in texts(page):
        assert "".join(LONG).startswith(f" {text.strip()}")
        assert "word3999" not in text


# How long a vote is being stored until the page calls the database busy, in ms.
PATIENCE = """() => { let voted = 0; window.patience = new Promise((tell) => {
  const look = () => {
    if (document.querySelector(".gac-arena-bar .gac-vote:disabled")) voted ||= performance.now();
    if (document.querySelector(".gac-arena .gac-status").textContent.includes("busy")) tell(performance.now() - voted);
  };
  new MutationObserver(look).observe(document.querySelector(".gac-arena"), { subtree: true, childList: true }); }); }"""


def test_only_a_slow_database_is_said_to_be_busy(serve_arena: Server, open_page: Opener) -> None:
    page = to_arena(open_page(serve_arena(PlantedEnsemble(SAID))).page)
    ask_two(page)

    def store_for_ever(route: Route) -> None:
        body = route.request.post_data or ""
        reply = route.fetch(post_data=body.replace("vote_battle", "look_battle")).json()
        if "vote_battle" in body:
            reply["state"] |= {"is_saving": True, "may_vote": False}
        route.fulfill(json=reply)

    page.route(CALLS, store_for_ever)
    page.evaluate(PATIENCE)
    page.keyboard.press("1")
    assert page.evaluate("window.patience") > 1000


# Nothing lies over a field, where it stands in the window.
IS_ON_TOP = """(box) => { const at = box.getBoundingClientRect();
  return [0.1, 0.5, 0.9].every((share) => {
    const y = at.top + share * at.height;
    return y >= innerHeight || document.elementFromPoint(at.left + at.width / 2, y) === box; }); }"""


def test_reasons_and_a_comment_are_kept_and_axe_is_silent(serve_arena: Server, open_page: Opener) -> None:
    page = (watched := open_page(serve_arena(PlantedEnsemble(SAID), public=True))).page
    page.wait_for_selector("p.loading", state="detached")
    with_axe(watched)
    to_arena(page)
    assert all_findings(watched) == {}
    page.check(".gac-arena-consent input")
    ask_two(page)
    for width in watched.at_widths(390, 1280):
        assert all_findings(watched) == {}, width
    click(page, ".gac-vote[data-outcome=tie]", then=".gac-arena-views [value=changes]", state="attached")
    page.click(".gac-arena-reasons summary")
    assert all_findings(watched, ".gac-arena-reasons") == {}
    comment = page.locator(".gac-arena-comment textarea")
    for _ in range(2):
        assert comment.evaluate(IS_ON_TOP)
        comment.scroll_into_view_if_needed()
    page.check(".gac-arena-reasons [name=left][value=clear]", force=True)
    page.check(".gac-arena-reasons [name=right][value=incorrect]", force=True)
    comment.fill("Both <b>odd</b>")
    comment.blur()
    page.wait_for_selector(".gac-arena-reasons:has-text('Saved.')")
    page.wait_for_selector(".gac-battle-card h3 bdi")
    click(page, ".gac-arena-own summary", then=".gac-arena-own li")
    page.fill(BOX, "A draft")
    with page.expect_response(lambda reply: "battle_tokens" in (reply.request.post_data or "")):
        page.click(".gac-arena-own .gac-run-open")
    assert page.input_value(BOX) == "A draft"
    for width in watched.at_widths(390, 1280):
        assert all_findings(watched) == {}, width
    with page.expect_download() as download:
        page.click(".gac-arena-own [data-act=save]")
    [battle] = [json.loads(line) for line in Path(download.value.path()).read_text("utf-8").splitlines()]
    remark = [row["body"] for row in battle["judgements"] if row["kind"] == "remark"][-1]
    assert remark == {"reasons": {"left": ["clear"], "right": ["incorrect"]}, "comment": "Both <b>odd</b>"}
    page.click(".gac-arena-own li .gac-danger")
    click(page, ".gac-arena-own li .gac-danger:text-is('Delete for good?')", then=".gac-arena-own p:text-is('None')")
    page.wait_for_selector(".gac-arena[data-state=empty]")
    ask_two(page, "Second")
    press(page, "x", then=".gac-arena-told:has-text('Your choice: Both bad')")
    page.wait_for_selector(".gac-arena-views [value=changes]", state="attached")
    page.click(".gac-arena-reasons summary")
    with page.expect_response(lambda reply: "remark_battle" in (reply.request.post_data or "")) as saved:
        page.check(".gac-arena-reasons [name=left][value=clear]", force=True)
        page.click(".gac-arena [data-act=again]")
    assert "error" not in saved.value.text(), "of the battle that it was chosen for"


def test_tokens_are_offered_where_the_server_has_them(serve_arena: Server, open_page: Opener) -> None:
    status = ".gac-arena .gac-status:text-is('{}')"
    page = to_arena(open_page(serve_arena(PlantedEnsemble(SAID))).page)
    ask_two(page)
    with refused(page, "battle_tokens"):
        page.click(".gac-vote[data-outcome=tie]")
    page.wait_for_selector(status.format(""), state="attached")
    reload(page)
    to_arena(page)
    page.wait_for_selector(status.format("Choose a token to see what every member wanted."))


def test_reasons_stand_in_their_form_after_a_reload(serve_arena: Server, open_page: Opener) -> None:
    page = to_arena(open_page(serve_arena(PlantedEnsemble(SAID)), is_new=True).page)
    ask_two(page)
    click(page, ".gac-vote[data-outcome=tie]", then=".gac-arena-views [value=changes]", state="attached")
    page.click(".gac-arena-reasons summary")
    page.check(".gac-arena-reasons [name=right][value=clear]", force=True)
    page.wait_for_selector(".gac-arena-reasons:has-text('Saved.')")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.post_data or ""))
    page.fill(".gac-arena-comment textarea", "My name is")
    page.wait_for_timeout(1500)
    page.fill(".gac-arena-comment textarea", "Both <b>odd</b>")
    page.fill(BOX, "A draft")
    page.wait_for_selector(".gac-arena-reasons:has-text('Saved.')")
    assert [body for body in sent if "My name is" in body] == [], "saved once the field is left"
    reload(page)
    to_arena(page)
    page.wait_for_selector(".gac-arena-reasons summary")
    told = page.eval_on_selector(".gac-arena-reasons form", "(form) => [...new FormData(form)].flat()")
    assert told == ["right", "clear", "comment", "Both <b>odd</b>"], "what is saved next takes its place"
    assert page.input_value(BOX) == "A draft"


def test_two_turns_then_others_and_a_reload(serve_arena: Server, open_page: Opener) -> None:
    page = to_arena(open_page(serve_arena(PlantedEnsemble(SAID))).page)
    ask_two(page)
    (other := page.context.new_page()).goto(page.url)
    answered(to_arena(other))
    ask_two(page, "And Rome?")
    other.click(".gac-vote[data-outcome=left]")
    other.wait_for_selector(".gac-arena-asked:text-is('And Rome?')")
    assert "changed meanwhile" in other.inner_text(".gac-arena-note"), "it showed one turn"
    answered(other)
    said = page.locator(".gac-battle-card").first.locator(".gac-battle-said").all_inner_texts()
    assert said == ["Where is Paris?", "And Rome?"]
    reload(page)
    to_arena(page)
    page.wait_for_selector(".gac-arena-asked:text-is('And Rome?')")
    assert page.input_value(BOX) == "", "it was asked"
    assert len(texts(page)) == 4
    click(page, ".gac-vote[data-outcome=left]", then=".gac-arena-views [value=changes]", state="attached")
    before = names(page)
    click(page, ".gac-arena [data-act=again]", then=".gac-arena-asked:text-is('Where is Paris?')")
    answered(page)
    click(page, ".gac-arena [data-act=skip]", then=".gac-arena-told:has-text('Skipped')")
    page.click(".gac-arena [data-act=again]")
    answered(page)
    begun = list[Route]()
    page.route("**/queue/join*", lambda route: (begun.append(route), route.continue_()))
    with page.expect_request("**/queue/join*"):
        page.dblclick(".gac-arena [data-act=again]")
    answered(page)
    assert len(begun) == 1
    click(page, ".gac-vote[data-outcome=right]", then=".gac-battle-card h3 bdi")
    assert len({*before, *names(page)}) >= 2
    reload(other)
    to_arena(other)
    other.wait_for_selector(".gac-arena-asked:text-is('And Rome?')")  # the battle that this tab showed


def test_a_host_that_does_not_answer_is_said(serve_arena: Server, open_page: Opener) -> None:
    page = open_page(serve_arena(PlantedEnsemble(SAID)), is_new=True).page
    page.clock.install()
    to_arena(page)
    page.route("**/queue/join*", lambda route: None)  # never answered
    page.fill(BOX, "Where?")
    click(page, ".gac-arena-send", then=".gac-arena .gac-status:has-text('Starting')", state="attached")
    assert page.is_disabled(".gac-arena-send")
    page.clock.fast_forward(21_000)
    page.wait_for_selector(".gac-arena-note:text-is('The server did not answer. Try again.')")
    assert page.is_enabled(".gac-arena-send")
