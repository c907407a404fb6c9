"""What can be kept of a run: Markdown, a page, a link; and what is compared with a run again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.conftest import Opener, Server, Watched
from tests.browser.test_arrangement import LONG, boxes
from tests.services.house import until
from tests.ui.planted import ANSWER, PlantedEnsemble

pytestmark = pytest.mark.browser

# How many widths and heights of the text the cards have.
SIZES = """['clientWidth', 'clientHeight'].map((side) =>
  new Set([...document.querySelectorAll('.gac-body')].map((body) => body[side])).size)"""
HOSTILE: tuple[str, ...] = ("<img src=x onerror=alert(1)>", " ]]> ", "</style><script>alert(2)</script>")
HOSTILE += ("\u0000\ufffe", " ünï 👩‍🚀 مرحبا", "")


def test_a_run_is_copied_as_markdown(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(), permissions=["clipboard-read", "clipboard-write"])
    page.ask("hello")
    page.ask("and on")
    page.page.click(".gac-keep summary")

    def copied() -> str:
        read = "navigator.clipboard.readText()"
        page.page.evaluate("navigator.clipboard.writeText('')")
        page.page.click("text=Copy as Markdown")
        until(lambda: page.page.evaluate(read), "for the copy")
        return str(page.page.evaluate(read))

    text = copied()
    assert text.startswith("> and on\n\n*gate Small")
    assert "## Ensemble\n\nParis is the\n capital.\n\n*7 tokens · 43 % ensembled" in text
    assert "## Large\n\n" in text
    page.page.click(".gac-keep-items >> text='All turns'")
    whole = copied()
    assert whole.startswith("> hello\n\n## Ensemble\n\nParis is the\n capital.\n\n## Small\n\n")
    assert whole.endswith(f"\n\n---\n\n{text}")
    with page.page.expect_download() as download:
        page.page.click("text=Save as HTML")
    assert '<h1 dir="auto">hello</h1>' in Path(download.value.path()).read_text("utf-8")


def test_saved_pages_stand_alone(serve: Server, open_page: Opener, tmp_path: Path) -> None:
    page = open_page(serve(PlantedEnsemble(pieces=HOSTILE)))
    page.ask("<b>hello</b>")
    for view in ("changes", "confidence"):
        page.page.check(f".gac-views input[value={view}]", force=True)
        page.page.click(".gac-keep summary")
        saved = page.page.context.new_page()
        dialogs: list[str] = []
        saved.on("dialog", lambda dialog: dialogs.append(dialog.message))  # noqa: B023 (within this view)
        with page.page.expect_download() as download:
            page.page.click("text=Save as HTML")
        download.value.save_as(tmp_path / "run.html")
        saved.goto((tmp_path / "run.html").as_uri())
        assert saved.inner_text("h1") == "<b>hello</b>"
        assert saved.locator(":is(script, img, svg, a, iframe, link)").count() == 0
        assert saved.locator("section").count() == 3
        assert "<script>alert(2)</script>" in saved.inner_text(".ensemble")
        assert saved.locator(".ensemble .gac-changed").count() == (view == "changes")
        assert dialogs == []
        saved.close()
        page.page.click(".gac-keep summary")


def test_a_shared_run_is_read_until_its_owner_unshares_it(serve: Server, open_page: Opener) -> None:
    site = serve()
    owner = open_page(site)
    owner.ask("a secret turn")
    owner.ask("look at this")
    owner.click(".gac-keep summary", "text=Share by link")
    link = owner.page.input_value(".gac-link")
    other = open_page(site)
    other.page.goto(link)
    other.page.wait_for_selector(".gac-asked h2:text-is('look at this')")
    assert "secret" not in other.text("body")
    assert not other.page.locator(".gac-votes").is_visible()
    assert other.page.locator(".gac-asked >> text=Run again").count() == 0
    other.click_token(1, then=".gac-inspector h3")
    assert other.page.locator(".gac-branch").count() == 0
    other.page.keyboard.press("Escape")
    other.ask("mine")  # a conversation of its own
    assert other.page.locator(".gac-turns li").count() == 0
    owner.page.click(".gac-keep-items >> text='All turns'")
    owner.click("text=Share by link", then=".gac-shared:has-text('and the turns before it')")
    other.page.goto(link)
    other.page.click(".gac-turns summary:text-is('a secret turn')")
    assert "capital" in other.text(".gac-turn-whole")
    owner.click("text=Stop sharing", then="text=No longer shared.")
    other.page.goto(link)
    other.page.wait_for_selector(".gac-notice:has-text('This run is private')")


def test_sharing_waits_for_the_end(serve: Server, open_page: Opener) -> None:
    ensemble = PlantedEnsemble(pieces=LONG[:60], pause_s=1.0)
    page = open_page(serve(ensemble))
    page.ask("hello", and_wait=False)
    page.choose("Share by link")
    assert page.text(".gac-keep-note").startswith("Waits for the end")
    assert page.page.locator(".gac-link").count() == 0
    ensemble.pause_s = 0.0
    page.page.wait_for_selector("body:not(.gac-is-live) .gac-link")


def test_the_same_prompt_with_other_settings_stands_beside(serve: Server, open_page: Opener) -> None:
    page = open_page(serve())
    page.ask("hello")
    page.page.click(".gac-summary")
    page.page.get_by_label("Every step").check()
    page.page.wait_for_selector("#gac-summary:has-text('every step combined')")
    page.click("text=Compare with the settings below", then=".gac-board.is-pair .gac-card >> nth=1")
    page.wait_for_end()
    before = "gate Small · others asked below 50 %"
    assert page.page.locator(".gac-card h3").all_inner_texts() == ["every step combined", before]
    assert page.page.locator(".gac-card").count() == 2
    assert page.page.evaluate(SIZES) == [1, 1], "equal cards"
    page.click_token(1, stream=1, then=".gac-inspector :text('only 40 % sure')")
    page.page.keyboard.press("Escape")
    page.leave_fields()
    page.press("2", then=f".gac-votes:has-text('Your choice: {before}')")
    page.page.click(".gac-settings [data-act=close]")
    page.choose("Compare settings")
    page.click(".gac-others button:has-text('As in the paper')", then=".gac-card h3:has-text('paper alignment')")
    page.wait_for_end()
    page.page.go_back()
    page.page.wait_for_selector(".gac-votes.is-voted")
    page.click("role=tab[name=History]", then=".gac-runs li:has-text('other settings best')")
    deleted = "{ members: [], streams: ['ensemble'], outcome: 'beside' }"  # what was beside it and had the vote
    votes = "new gac['compare/votes'].Votes(document.createElement('div'), () => ({}))"
    voted = f"() => {{ const votes = {votes}; votes.start({deleted}); return votes.onKey('0') && votes.outcome; }}"
    assert page.page.evaluate(voted) == "tie"


def test_a_prompt_is_edited_in_its_place_and_one_answer_anew(serve: Server, open_page: Opener) -> None:
    ensemble = PlantedEnsemble()
    page = open_page(serve(ensemble))
    page.ask("first")
    page.ask("secnod")
    page.choose("Edit prompt")
    page.page.fill(".gac-edit", "second")
    page.press("Enter", then=".gac-asked h2:text-is('second')")
    page.wait_for_end()
    page.ask("third")
    assert page.page.locator(".gac-turn-prompt").all_inner_texts() == ["first", "second"]
    before = ensemble.num_steps
    ensemble.alone = ("Rome", "")
    page.page.click(".gac-card >> nth=2 >> summary")
    page.click(".gac-card >> nth=2 >> text=Regenerate", then=".gac-ensemble .gac-versions:has-text('2/2')")
    page.wait_for_end()
    assert page.page.locator(".gac-text").all_inner_texts()[2].startswith("Rome")
    assert page.page.locator(".gac-text").all_inner_texts()[1].startswith("Paris is the")
    assert ensemble.num_steps == before + 2
    [(_, top, *_)] = boxes(page, ".gac-ensemble")
    page.click("[aria-label='Older version']", then=".gac-ensemble .gac-versions:has-text('1/2')")
    page.page.wait_for_function("document.querySelectorAll('.gac-text')[2]?.textContent.startsWith('Paris')")
    assert page.page.locator(".gac-turn-prompt").all_inner_texts() == ["first", "second"]
    assert boxes(page, ".gac-ensemble")[0][1] == top, "nothing moves under the pointer"


IDENTICAL = "identical to the previous run"


def said_again(page: Watched) -> list[str]:
    """By each card of a run again, once it is over."""
    page.page.wait_for_selector(".gac-board.is-again .gac-again >> nth=2")
    page.wait_for_end()
    return page.page.locator(".gac-again").all_inner_texts()


def test_a_digest_is_copied_and_says_if_it_comes_again(serve: Server, open_page: Opener) -> None:
    ensemble = PlantedEnsemble()
    page = open_page(serve(ensemble), permissions=["clipboard-read", "clipboard-write"])
    page.ask("hello")
    page.page.click(".gac-details summary")
    [proof] = page.page.locator(".gac-proof").all_inner_texts()
    assert proof.startswith("digest ")
    assert proof.endswith("… · reproducible")
    button = page.page.locator(".gac-ensemble .gac-proof button")
    shown, title = button.inner_text(), button.get_attribute("title") or ""
    button.click()
    page.page.wait_for_selector(".gac-ensemble .gac-proof button:text-is('Copied')")
    digest = page.page.evaluate("navigator.clipboard.readText()")
    assert len(bytes.fromhex(digest)) == 8
    assert title.endswith(digest)
    page.page.wait_for_selector(f".gac-ensemble .gac-proof button:text-is('{shown}')")
    assert shown == f"digest {digest[:8]}…"
    ensemble.is_reproducible = False
    page.ask("again")
    word = page.page.locator(".gac-ensemble .gac-proof :text-is('not reproducible')")
    assert "set Reproducible to On" in (word.get_attribute("title") or "")


def test_a_run_again_is_compared_with_the_one_before(serve: Server, open_page: Opener) -> None:
    ensemble = PlantedEnsemble()
    page = open_page(serve(ensemble))
    page.ask("hello")
    assert page.page.locator(".gac-again").count() == 0
    page.choose("Run again")
    assert said_again(page) == [IDENTICAL] * 3
    ensemble.pieces = ["Paris", "<img src=x onerror=alert(1)>", *ANSWER[2:]]
    page.click("role=tab[name=History]", ".gac-runs [aria-label='More: hello'] >> nth=0")
    page.click(".gac-runs li >> nth=0 >> text=Run again", then=".gac-again:has-text('differs')")
    told = 'differs from the previous run at token 2: "<img␣src=x␣onerror=alert(1)>" instead of "␣is"'
    assert said_again(page) == [told, IDENTICAL, IDENTICAL]
    assert page.page.locator(".gac-board img").count() == 0
    page.ask("and then?")
    assert page.page.locator(".gac-again, .gac-board.is-again").count() == 0
