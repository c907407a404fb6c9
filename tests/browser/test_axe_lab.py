"""What axe-core finds on the Lab and Batch tabs: nothing serious or moderate."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Opener, Site, to_tab
from tests.browser.test_axe import all_findings, with_axe
from tests.browser.test_lab import run_calibration
from tests.browser.test_lab import site as lab_site

pytestmark = pytest.mark.browser
site = lab_site


def test_axe_has_nothing_to_say_of_the_lab_and_of_batches(site: Site, open_page: Opener) -> None:
    page = open_page(site)
    with_axe(page)
    run_calibration(page.page)
    page.page.click(".gac-lab-words summary")
    page.page.locator(".gac-lab-questions summary").first.click()
    for width in page.at_widths(390, 1280):
        assert all_findings(page) == {}, width
    to_tab(page.page, "Batch")
    page.page.click(".gac-batch .gac-lab-run")
    page.page.wait_for_selector(".gac-batch .gac-lab-note:text-is('Enter at least one prompt, one per line.')")
    page.page.fill("[name=prompts]", "One?")
    page.page.click(".gac-batch .gac-lab-run")
    page.page.wait_for_selector(".gac-batch-table .gac-vote:text-is('Tie')")
    for width in page.at_widths(1280, 390):
        assert all_findings(page) == {}, width
        assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
