"""The page behind a reverse proxy, under a sub-path: nothing asks outside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.conftest import Opener, Site, served
from tests.browser.sub_path_proxy import below_prefix
from tests.ui.planted import planted_service

pytestmark = pytest.mark.browser


def test_everything_works_under_a_sub_path(tmp_path: Path, open_page: Opener) -> None:
    service = planted_service(tmp_path, trusted_proxies=("127.0.0.1",))
    with served(service, place="below") as site, below_prefix(site.url) as (url, outside):
        page = open_page(Site(url, site.service), is_new=True)
        page.ask("hello")
        page.ask("and then?")
        page.click_token(1)
        page.page.wait_for_selector(".gac-inspector .gac-bars")
        page.page.keyboard.press("Escape")
        page.page.click("role=tab[name=History]")
        page.page.wait_for_selector(".gac-run-prompt:has-text('and then?')")
        page.page.reload()
        page.page.click("role=tab[name=Compare]")
        page.page.wait_for_selector(".gac-asked h2:text-is('and then?')")
        page.page.goto("about:blank")  # else the host would wait for its streams to end
    assert outside == []
