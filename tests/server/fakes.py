"""A service that says what a test wants, and hosts over it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, FastAPI

from gac_app.config import ServerConfig
from gac_app.errors import StorageError
from gac_app.server.host import bare_host
from gac_app.services.members import MemberState


@dataclass
class FakeMembers:
    found: list[MemberState] = field(default_factory=lambda: [MemberState(one, "ready") for one in ("small", "large")])
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

    def start_mirror(self) -> None:
        """There is none."""

    def close(self) -> None:
        self.is_closed = True


def host_with(*routers: APIRouter, **server: Any) -> FastAPI:
    """A host with these routes and options, for clients of `http://localhost`."""
    return bare_host(FakeService(), ServerConfig(**server), routers=routers)  # type: ignore[arg-type]
