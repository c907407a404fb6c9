"""Many prompts in a browser: run, voted on, opened, called off, found again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Route

from gac_app.ui.scripts import LATER
from tests.browser.conftest import CALLS, Opener, Server, Site, click, reload, to_tab
from tests.browser.test_axe import all_findings, with_axe

pytestmark = pytest.mark.browser


def test_prompts_fill_a_table_with_votes_that_opens_in_compare(lab_site: Site, open_page: Opener) -> None:
    watched, asked = open_page(lab_site), list[str]()
    page = watched.page
    page.on("request", lambda request: asked.append(request.post_data or ""))
    to_tab(page, "Batch", then=".gac-batch-table th:text-is('Ensemble')", state="attached")
    assert sum("batch_overview" in body for body in asked) == 1
    page.fill("[name=prompts]", "=1+1?\n<b>Two?</b>")
    silent: dict[str, Any] = {"json": {"error": "Later."}}
    page.route(CALLS, lambda route: (
        route.fulfill(**silent) if "batch_runs" in (route.request.post_data or "") else route.continue_()
    ))  # fmt: skip
    click(page, ".gac-batch .gac-lab-run", then=".gac-batch .gac-lab-progress:text-is('2 of 2 done')", state="attached")
    page.unroute(CALLS)
    page.wait_for_selector(".gac-batch-table tr:nth-child(2) .gac-vote:text-is('Tie')")
    assert page.inner_text(".gac-batch-table tr:nth-child(2) th .gac-batch-text") == "<b>Two?</b>"
    assert page.locator(".gac-batch-table tbody tr").nth(0).locator("td").count() == 4
    page.locator(".gac-batch-table tbody tr:nth-child(2) td[data-name=Ensemble] .gac-vote").click()
    page.wait_for_selector(".gac-batch-table tr:nth-child(2) .gac-vote[aria-pressed=true]:text-is('Best')")
    totals = "2 prompts · 2 with different answers · Ensemble best: 1 · 1 without a vote"
    assert page.inner_text(".gac-batch-totals") == totals
    verdict = "For [0-2] of 2 prompts, the ensemble gave .+ alone. No better than .+; 1 vote cannot tell any difference"
    page.wait_for_selector(f".gac-outcome[role=status]:text-matches('{verdict}')")  # once all is stored
    failed = "[{ answers: [{ text: 'Par', reason: 'error' }, { text: 'Paris', reason: 'stop' }] }]"
    told = page.evaluate(f"gac['batch/totals'].verdictOf({failed}, ['Ensemble', 'a'])")
    assert told.startswith("For 0 of 1 prompt,"), "what failed is no answer"
    rows = page.locator(".gac-batch-table tbody tr:visible th .gac-batch-text")
    for field, value, shown in (
        ("vote", "ensemble", ["<b>Two?</b>"]), ("vote", "not-voted", ["=1+1?"]), ("vote", "tie", []),
        ("vote", "", ["=1+1?", "<b>Two?</b>"]), ("answers", "same", []), ("answers", "split", ["=1+1?", "<b>Two?</b>"]),
    ):  # fmt: skip
        page.select_option(f".gac-batch-shown [name={field}]", value)
        assert rows.all_inner_texts() == shown
    for ending in ("csv", "jsonl"):
        with page.expect_download() as download:
            page.click(f".gac-batch-exports [data-act={ending}]")
        text = Path(download.value.path()).read_text("utf-8")
        assert "<b>Two?</b>" in text
        assert ('"\'=1+1?"' if ending == "csv" else '"=1+1?"') in text, "no spreadsheet takes a prompt for a formula"
    assert [json.loads(line)["vote"] for line in text.splitlines()] == [None, "ensemble"]
    click(page, ".gac-batch-table tr:nth-child(2) button:text-is('Open')", then=".gac-asked h2:text-is('<b>Two?</b>')")
    page.wait_for_selector(".gac-votes.is-voted")
    reload(page)
    to_tab(page, "Batch", then=".gac-batch-table tr:nth-child(2) button:text-is('Open')")
    assert page.input_value("[name=prompts]") == "=1+1?\n<b>Two?</b>"
    with_axe(watched)
    for width in watched.at_widths(1280, 390):
        assert all_findings(watched) == {}, width
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.set_viewport_size({"width": 1280, "height": 900})
    to_tab(page, "History")
    page.check("[aria-label='Choose: =1+1?']")
    page.click("text=Delete chosen (1)")
    watched.confirm_deletion()
    to_tab(page, "Batch", then=".gac-batch-totals:has-text('1 prompt ·')")
    to_tab(page, "History", then=".gac-history-note:empty", state="attached")
    page.click("text=Delete all my data")
    watched.confirm_deletion()
    to_tab(page, "Batch", then=".gac-batch-table", state="hidden")


def test_a_batch_is_called_off(lab_site: Site, open_page: Opener) -> None:
    page = open_page(lab_site).page
    to_tab(page, "Batch")
    page.fill("[name=prompts]", "\n".join(f"Question {number}?" for number in range(30)))
    click(page, ".gac-batch .gac-lab-run", then=".gac-batch .gac-lab-progress:has-text('of 30 done')")
    click(page, ".gac-batch [data-act=cancel]", then=".gac-batch .gac-lab-running", state="hidden")
    assert page.locator(".gac-batch-table td:text-is('cancelled')").count() > 0


def test_no_batch_is_begun_before_the_tab_can_take_it(serve: Server, open_page: Opener) -> None:
    page = open_page(serve()).page
    held: list[Route] = []
    page.route(f"**/{LATER}", lambda route: held.append(route))
    with page.expect_request(f"**/{LATER}"):
        to_tab(page, "Batch")
    page.wait_for_selector(".gac-batch .gac-lab-run:disabled")
    while not held:
        page.wait_for_timeout(20)
    held[0].continue_()
    page.wait_for_selector(".gac-batch .gac-lab-run:enabled")
