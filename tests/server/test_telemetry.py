"""Logs as JSON, and traces: ids and figures, and nothing that a visitor wrote."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from gac_app.errors import ConfigError
from gac_app.server.api.app import api_app
from gac_app.server.host import bare_host
from gac_app.server.telemetry import traced
from gac_app.server.telemetry.json_log import JsonLines, log_ended
from gac_app.services.completions.completions import Completions
from gac_app.services.runs.runs import RunService
from tests.server.conftest import HERE
from tests.services.house import House, answer

SECRET = "who-is-not-to-be-told"
CHAT = {"model": "gac", "messages": [{"role": "user", "content": SECRET}], "max_tokens": 4}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "gac.db")
    yield house
    house.close()


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged, as JSON."""
    told = io.StringIO()
    handler, logger = logging.StreamHandler(told), logging.getLogger("gac_app")
    handler.setFormatter(JsonLines())
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield told
    logger.removeHandler(handler)
    logger.setLevel(before)


def ask(service: RunService, headers: dict[str, str], *middleware: Any) -> None:
    host = bare_host(service, service.config.server, api=partial(api_app, Completions(service), service.config))
    for one, options in middleware:
        host.add_middleware(one, **options)
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
    assert record["error"].startswith("ValueError at test_telemetry.py")
    assert SECRET not in lines.getvalue()


def test_traces_go_from_request_to_run_to_members(house: House) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="gac-app[otel]")
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from gac_app.server.telemetry.spans import RequestSpans, Spans

    exporter, service = InMemorySpanExporter(), house.service()
    spans = Spans(SimpleSpanProcessor(exporter))
    service.when_ended(spans.ended)
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    ask(service, {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}, (RequestSpans, {"spans": spans}))
    made = {span.context.span_id: span for span in exporter.get_finished_spans()}
    parents = {(span.name, made[span.parent.span_id].name) for span in made.values() if span.parent.span_id in made}
    assert parents == {("run", "request"), ("member", "run")}
    assert {f"{span.context.trace_id:032x}" for span in made.values()} == {trace_id}
    told = {
        span.attributes["gac.member"]: span.attributes["gac.forwards"]
        for span in made.values()
        if span.name == "member"
    }
    assert told.keys() == {"a", "b"}
    assert told["a"] > 0
    assert SECRET not in "".join(span.to_json() for span in made.values())


@pytest.mark.process
def test_without_a_variable_nothing_is_imported() -> None:
    code = "import sys, gac_app.server.telemetry; print([m for m in sys.modules if 'opentelemetry.sdk' in m])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert ran.stdout.strip() == "[]"


def test_traces_without_the_extra_are_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    monkeypatch.delitem(sys.modules, "gac_app.server.telemetry.spans", raising=False)
    service = house.service()
    host = bare_host(service, service.config.server)
    with (
        pytest.raises(ConfigError, match=r"gac-app\[otel\]"),
        traced(host, service, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}),
    ):
        pass
