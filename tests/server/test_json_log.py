"""Logs as JSON: ids and figures, and nothing that a visitor wrote."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from functools import partial

import pytest
from fastapi.testclient import TestClient

from gac_app.server.api.app import api_app
from gac_app.server.host import bare_host
from gac_app.server.logs import JsonLines, QuietLog, log_ended
from gac_app.services.completions.completions import Completions
from gac_app.services.runs.runs import RunService
from tests.server.conftest import HERE
from tests.services.conftest import house as house
from tests.services.house import House, answer

SECRET = "who-is-not-to-be-told"
CHAT = {"model": "gac", "messages": [{"role": "user", "content": SECRET}], "max_tokens": 4}


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged, as JSON."""
    told = io.StringIO()
    handler, logger = logging.StreamHandler(told), logging.getLogger("gac_app")
    handler.setFormatter(JsonLines())
    handler.addFilter(QuietLog())
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield told
    logger.removeHandler(handler)
    logger.setLevel(before)


def ask(service: RunService, headers: dict[str, str]) -> None:
    host = bare_host(service, service.config.server, api=partial(api_app, Completions(service), service.config))
    with TestClient(host, base_url=HERE) as client:
        assert client.post("/v1/chat/completions", json=CHAT, headers=headers).status_code == 200


def test_a_run_that_ends_is_a_record_with_its_ids(house: House, lines: io.StringIO) -> None:
    service = house.service()
    service.when_ended(log_ended)
    ask(service, {"X-Request-Id": "mine"})
    [record] = [json.loads(line) for line in lines.getvalue().splitlines() if "a run ended" in line]
    assert record["request_id"] == "mine"
    assert len(record["run_id"]) == 32
    assert (record["answers"], record["tokens"], record["reasons"]) == (1, 4, ["length"])
    assert SECRET not in lines.getvalue()


def test_a_run_of_the_page_has_no_request(house: House, lines: io.StringIO) -> None:
    service = house.service()
    service.when_ended(log_ended)
    run = answer(service, SECRET)
    [record] = map(json.loads, lines.getvalue().splitlines())
    assert (record["run_id"], record["answers"]) == (run.id, 3)
    assert "request_id" not in record


def test_an_exception_is_told_without_its_message(lines: io.StringIO) -> None:
    try:
        raise ValueError(SECRET)
    except ValueError:
        logging.getLogger("gac_app.test").exception("it broke")
    [record] = map(json.loads, lines.getvalue().splitlines())
    assert record["level"] == "error"
    assert record["message"].startswith("it broke: ValueError at test_json_log.py")
    assert SECRET not in lines.getvalue()
