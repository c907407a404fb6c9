"""Whether there are traces: OpenTelemetry is imported only where a variable says where they go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from fastapi import FastAPI

from gac_app.errors import ConfigError
from gac_app.services.runs.runs import RunService

_TRACES_TO = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")  # OpenTelemetry's own


@contextmanager
def traced(host: FastAPI, runs: RunService, environ: Mapping[str, str]) -> Iterator[None]:
    """Trace requests and runs until the block ends. The host must not have begun to serve.

    Raises:
        ConfigError: a variable asks for traces, and OpenTelemetry is not installed.
    """
    asked = [name for name in _TRACES_TO if environ.get(name)]
    if not asked:
        yield
        return
    try:
        from gac_app.server.telemetry.spans import RequestSpans, Spans
    except ModuleNotFoundError as error:
        raise ConfigError(f"{asked[0]}: needs the package {error.name}; pip install 'gac-app[otel]'") from None
    spans = Spans()
    runs.when_ended(spans.ended)
    host.add_middleware(RequestSpans, spans=spans)
    try:
        yield
    finally:
        spans.close()
