"""The tool `ask`: a chat of the API, by Gradio's client and by MCP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from gac_app.errors import ConfigError
from gac_app.server.host import create_host, mount_page
from gac_app.server.page.ask_tool import ask_tool
from tests.api.site import ASK, Site
from tests.server.site import served
from tests.services.house import House

PROMPT = ASK[0]["content"]


def with_ask(here: Site, **options: Any) -> None:
    with gr.Blocks() as blocks:
        ask_tool(here.completions, here.host.state.api.state.access)
    mount_page(here.host, blocks, options)


@pytest.fixture
def asked(site: Callable[..., Site]) -> Iterator[tuple[Site, Client]]:
    here = site()
    with_ask(here)
    with served(here.host) as url:
        yield here, Client(url, verbose=False)


def test_it_answers_as_the_api(asked: tuple[Site, Client]) -> None:
    here, client = asked
    told = here.chat().json()["choices"][0]["message"]["content"]
    assert client.predict(PROMPT, "gac", 8, api_name="/ask") == told
    assert client.predict(PROMPT, "a", 8, api_name="/ask") != told
    assert here.num_under_way == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [(("x", "nobody", 8), "no such model"), (("", "gac", 8), "empty"), (("x", "gac", 0), "max_tokens")],
)
def test_what_the_api_refuses_it_refuses(asked: tuple[Site, Client], given: Any, message: str) -> None:
    with pytest.raises(AppError, match=message):
        asked[1].predict(*given, api_name="/ask")


def test_it_is_off_unless_it_is_asked_for(house: House) -> None:
    service = house.service()
    with served(create_host(service, service.config)) as url:
        assert not Client(url, verbose=False).view_api(return_format="dict")["named_endpoints"]


def test_without_the_package_it_is_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gac_app.server.host.find_spec", lambda _: None)
    service = house.service(api={"mcp": True})
    with pytest.raises(ConfigError, match=r"gac-app\[mcp\]"):
        create_host(service, service.config)


def test_mcp_has_the_one_tool(site: Callable[..., Site]) -> None:
    mcp = pytest.importorskip("mcp", reason="gac-app[mcp]")
    from mcp.client.streamable_http import streamable_http_client

    here = site()
    with_ask(here, mcp_server=True)

    async def told(url: str) -> tuple[list[str], str, bool]:
        async with (
            streamable_http_client(f"{url}/gradio_api/mcp/") as (read, write, *_),
            mcp.ClientSession(read, write) as session,
        ):
            await session.initialize()
            names = [tool.name for tool in (await session.list_tools()).tools]
            answer = await session.call_tool("ask", {"prompt": PROMPT, "max_tokens": 8})
            refused = await session.call_tool("ask", {"prompt": PROMPT, "model": "nobody"})
            return names, answer.content[0].text, refused.isError

    whole = here.chat().json()["choices"][0]["message"]["content"]
    with served(here.host) as url:
        found = asyncio.run(told(url))
    assert found == (["ask"], whole, True)
