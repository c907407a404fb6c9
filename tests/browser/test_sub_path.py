"""The page behind a reverse proxy, under a sub-path: nothing asks outside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import FastAPI, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.browser.conftest import Opener, Site, served
from tests.ui.planted import planted_service

pytestmark = pytest.mark.browser

PREFIX = "/demo"


def below_prefix(host: FastAPI, outside: list[str]) -> ASGIApp:
    """The host behind a proxy that takes the prefix off and names it. Paths outside belong to another site."""

    async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith(f"{PREFIX}/"):
            outside.append(scope["path"])
            await Response(status_code=204)(scope, receive, send)
        elif scope["type"] == "http":
            headers = [*scope["headers"], (b"x-forwarded-proto", b"http"), (b"x-forwarded-prefix", PREFIX.encode())]
            below = {name: scope[name][len(PREFIX) :] for name in ("path", "raw_path")}
            await host({**scope, **below, "headers": headers}, receive, send)
        else:
            await host(scope, receive, send)

    return proxy


def test_everything_works_under_a_sub_path(tmp_path: Path, open_page: Opener) -> None:
    service, outside = planted_service(tmp_path, trusted_proxies=("127.0.0.1",)), list[str]()  # type: ignore[arg-type]
    with served(service, place="below", proxied=lambda host: below_prefix(host, outside)) as site:
        page = open_page(Site(f"{site.url}{PREFIX[1:]}/", site.service), is_new=True)
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
