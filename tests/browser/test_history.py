"""The History tab: conversations found, named, starred; one, many or all deleted."""

from __future__ import annotations

import pytest
from playwright.sync_api import Route

from tests.browser.conftest import CALLS, Opener, Server, Site, Watched, refused

pytestmark = pytest.mark.browser


def with_history(site: Site, open_page: Opener, **options: object) -> Watched:
    """Two conversations, the first of two turns."""
    page = open_page(site, **options)
    for prompt in ("alpha", "beta"):
        page.ask(prompt)
    page.click("#gac-new", then=".gac-empty")
    page.ask("gamma")
    page.click("role=tab[name=History]", then=".gac-run-prompt:text-is('gamma')")
    return page


def listed(page: Watched) -> list[str]:
    return page.page.locator(".gac-run-prompt").all_inner_texts()


def test_conversations_are_found_named_starred_and_reopened(serve: Server, open_page: Opener) -> None:
    page = with_history(serve(), open_page)
    assert listed(page) == ["gamma", "alpha", "beta"]
    assert page.page.locator(".gac-run-excerpt").all_inner_texts() == ["Paris is the capital."] * 3
    assert page.text(".gac-conversation-head").split("\n")[:3] == ["☆", "alpha", "2 turns"]
    page.page.check("[aria-label='Choose: gamma']")
    for _ in range(2):
        page.page.click("role=button[name='Star: gamma']")  # its row is made anew
    page.page.click("[aria-label='More: alpha'] >> nth=0")
    page.page.evaluate("gac['history/history'].refreshHistory()")
    assert page.page.is_checked("[aria-label='Choose: gamma']")
    assert page.page.locator(".gac-conversations details[open]").count() == 1
    page.page.uncheck("[aria-label='Choose: gamma']")
    page.fill(".gac-search", "bet", then=".gac-conversation-head:has-text('1 of 2 turns')")
    assert listed(page) == ["beta"]
    page.page.fill(".gac-search", "capital")  # the answers' own word
    page.page.wait_for_selector(".gac-run-prompt >> nth=2")
    held = list[Route]()
    page.page.route(
        CALLS, lambda route: held.append(route) if "gamm" in str(route.request.post_data) else route.continue_()
    )
    with page.page.expect_request(lambda request: "gamm" in str(request.post_data)):
        page.page.fill(".gac-search", "gamm")
    page.fill(".gac-search", "alph", then=".gac-conversation-head:has-text('1 of 2 turns')")
    with page.page.expect_response(lambda response: "gamm" in str(response.request.post_data)):
        held[0].continue_()
    page.page.evaluate("new Promise((done) => setTimeout(done))")
    assert listed(page) == ["alpha"], "a slow reply to an earlier search is dropped"
    page.page.unroute_all()
    page.page.fill(".gac-search", "")
    page.page.click('text="Filters"')
    yesterday, today = page.page.evaluate("[-864e5, 0].map((ms) => new Date(Date.now() + ms).toLocaleDateString('sv'))")
    page.fill("[name=to]", yesterday, then="text=No run matches.")
    for name in ("to", "from"):  # a day named is included
        page.fill(f"[name={name}]", today, then=".gac-run-prompt >> nth=2")
    page.page.select_option("[name=outcome]", "voted")
    page.page.wait_for_selector("text=No run matches.")
    page.page.click("text=Clear filters")
    page.page.select_option("[name=sort]", "oldest")
    page.page.wait_for_selector(".gac-conversations > li:first-child:has-text('alpha')")
    page.click("[aria-label='More: alpha'] >> nth=0", "text='Name'")
    page.page.keyboard.type("<b>Guitars</b>")
    page.press("Enter", then=".gac-conversation-head h2:text-is('<b>Guitars</b>')")
    with refused(page.page, "star_conversation"):
        page.page.click("role=button[name='Star: gamma']")
    page.page.wait_for_selector("[aria-label='Star: gamma'][aria-pressed=false]")
    page.click("role=button[name='Star: gamma']", then="[aria-label='Star: gamma'][aria-pressed=true]")
    page.page.check("text=Starred only")
    page.page.wait_for_function("document.querySelectorAll('.gac-run-prompt').length === 1")
    assert listed(page) == ["gamma"]
    page.page.uncheck("text=Starred only")
    page.click(".gac-run-open:has-text('beta')", then=".gac-asked h2:text-is('beta')")
    page.page.click("role=tab[name=History]")
    page.fill(".gac-search", "alph", then=".gac-conversation-head:has-text('1 of 2 turns')")
    page.click("[aria-label='More: <b>Guitars</b>']", "text=Delete all turns")
    page.confirm_deletion()
    page.page.click("role=tab[name=Compare]")
    page.page.wait_for_selector(".gac-empty")  # a turn that was not listed was shown
    page.page.click("role=tab[name=History]")
    page.fill(".gac-search", "", then=".gac-run-prompt")
    assert listed(page) == ["gamma"]
    page.page.reload()
    page.click(".gac-run-open", then=".gac-asked h2:text-is('gamma')")
    page.click_token(1, then=".gac-branch")


def test_a_turn_chosen_runs_and_all_data_are_deleted(serve: Server, open_page: Opener) -> None:
    page = with_history(serve(), open_page)
    page.click(".gac-run-open:has-text('beta')", then=".gac-turns:has-text('alpha')")
    page.click("role=tab[name=History]", ".gac-runs [aria-label='More: alpha']")
    page.page.click("[data-run]:has-text('alpha') >> text='Delete'")
    page.confirm_deletion()
    page.page.click("role=tab[name=Compare]")
    assert page.text(".gac-turns") == "Deleted turns: 1. The conversation continues without them."
    page.ask("and on")
    assert "alpha" not in page.text("body")
    assert "beta" in page.text(".gac-turns")
    page.page.click("role=tab[name=History]")
    for prompt in ("beta", "and on"):
        page.page.check(f"[aria-label='Choose: {prompt}']")
    page.page.click("text=Delete chosen (2)")
    page.confirm_deletion()
    assert listed(page) == ["gamma"]
    page.page.click("role=tab[name=Compare]")
    page.page.wait_for_selector(".gac-empty")  # the run that it showed is gone
    page.click("role=tab[name=History]", "text=Delete all my data", ".gac-dialog >> text=Keep")
    assert listed(page) == ["gamma"]
    page.click(".gac-run-open:has-text('gamma')", then=".gac-asked h2:text-is('gamma')")
    page.page.click("role=tab[name=History]")
    with refused(page.page, "delete_all"):
        page.click("text=Delete all my data", ".gac-dialog button[value=delete]", then="text='busy'")
    page.click("role=tab[name=Compare]", then=".gac-empty")
    page.page.click("role=tab[name=History]")
    page.click("text=Delete all my data", ".gac-dialog button[value=delete]", then="text='Deleted.'")
    assert listed(page) == []
