"""A service that says what a test wants, and the smallest page that streams."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import gradio
from fastapi import APIRouter, FastAPI

from gac_app.config import ServerConfig
from gac_app.errors import StorageError
from gac_app.server.host import bare_host
from gac_app.services.members import MemberState


@dataclass
class FakeMembers:
    found: list[MemberState] = field(
        default_factory=lambda: [MemberState(name, "ready") for name in ("small", "large")]
    )
    are_ready: bool = True

    def states(self) -> list[MemberState]:
        return self.found

    def kept(self) -> dict[str, dict[str, int]]:
        return {"small": {"num_ids": 7, "max_ids": 8192}}


@dataclass
class FakeService:
    members: FakeMembers = field(default_factory=FakeMembers)
    storage_error: str = ""
    is_closed: bool = False
    mirror: None = None

    def check_storage(self) -> None:
        if self.storage_error:
            raise StorageError(self.storage_error)

    def read_mirror(self) -> None:
        """There is none."""

    def close(self) -> None:
        self.is_closed = True


def host_with(*routers: APIRouter) -> FastAPI:
    """A host with these routes, for clients of `http://localhost`."""
    return bare_host(FakeService(), ServerConfig(), routers=routers)  # type: ignore[arg-type]


def tiny_page() -> gradio.Blocks:
    """A box, a streaming echo of it, and its button."""

    def echo(text: str) -> Iterator[str]:
        for end in range(1, len(text) + 1):
            yield text[:end]
            time.sleep(0.05)

    with gradio.Blocks() as page:
        box = gradio.Textbox(label="Prompt")
        answer = gradio.Textbox(label="Answer")
        gradio.Button("Run").click(echo, box, answer, api_name="echo")
    return page
