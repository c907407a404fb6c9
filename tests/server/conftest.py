from __future__ import annotations

import secrets
from collections.abc import Iterator

import gradio
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from gac_app.server.host import create_host, mount_page
from tests.clocks import battles_at_once as battles_at_once
from tests.event_loops import loops_are_free as loops_are_free
from tests.server.fakes import host_with
from tests.ui.planted import planted_service

HERE = "http://localhost:7860"


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    """The host with an empty page, and one foreign site that may call it."""
    host = host_with(allowed_origins=("https://friend.example",))
    mount_page(host, gradio.Blocks(), {})
    with TestClient(host, base_url=HERE) as client:
        yield client


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    """The host of the real page over planted answers."""
    service = planted_service(tmp_path_factory.mktemp("host"))
    return create_host(service, service.config)


@pytest.fixture(scope="module")
def entered(host: FastAPI) -> Iterator[TestClient]:
    with TestClient(host, base_url=HERE, raise_server_exceptions=False) as client:
        yield client


def an_address() -> tuple[str, int]:
    """That no other client of these hosts has."""
    return ".".join(["10", *(str(secrets.randbelow(256)) for _ in range(3))]), 1
