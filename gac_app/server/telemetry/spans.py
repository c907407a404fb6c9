"""Traces by OpenTelemetry: a request of the API, its run, and each member's work for the run.

The only module that imports OpenTelemetry, and it is imported only where traces are on. No span has a text, a path or a
visitor.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gac_app import __version__
from gac_app.server.middleware import with_start
from gac_app.services.origin import originating
from gac_app.services.runs.runs import LiveRun


class Spans:
    """Makes the spans of one host.

    Args:
        processor: takes them; None = sends them to where OpenTelemetry's variables say.
    """

    def __init__(self, processor: SpanProcessor | None = None) -> None:
        resource = Resource.create({"service.name": "gac", "service.version": __version__})
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(processor or BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("gac_app", __version__)

    def request(self, parent: Context) -> AbstractContextManager[trace.Span]:
        made: AbstractContextManager[trace.Span] = self._tracer.start_as_current_span(
            "request", parent, kind=trace.SpanKind.SERVER
        )
        return made

    def ended(self, run: LiveRun) -> None:
        """Make the spans of a run that has ended: its own, and below it each member's, as long as that computed."""
        end_ns = time.time_ns()
        start_ns = end_ns - round((time.monotonic() - run.came_at) * 1e9)
        parent = trace.set_span_in_context(run.origin.span) if run.origin.span else Context()
        ends = [stream.finished for stream in run.streams.values() if stream.finished]
        facts: dict[str, Any] = {
            "gac.run": run.id,
            "gac.status": run.status,
            "gac.answers": len(ends),
            "gac.tokens": sum(end.num_decoded for end in ends),
            "gac.tokens_ensembled": sum(end.num_ensembled for end in ends),
        }
        span = self._tracer.start_span("run", parent, attributes=facts, start_time=start_ns)
        below = trace.set_span_in_context(span)
        for member in sorted({name for end in ends for name in end.members}):
            used = [end.members[member] for end in ends if member in end.members]
            seconds = sum(usage.seconds for usage in used)
            told = {
                "gac.member": member,
                "gac.forwards": sum(usage.num_forwards for usage in used),
                "gac.tokens_read": sum(usage.num_tokens_read for usage in used),
                "gac.seconds": seconds,
            }
            part = self._tracer.start_span("member", below, attributes=told, start_time=start_ns)
            part.end(min(end_ns, start_ns + round(seconds * 1e9)))
        span.end(end_ns)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


class RequestSpans:
    """Middleware: a span for each request of the API, below the caller's if its headers name one."""

    def __init__(self, app: ASGIApp, spans: Spans) -> None:
        self.app, self._spans = app, spans

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self.app(scope, receive, send)
            return
        parent = TraceContextTextMapPropagator().extract(Headers(scope=scope), Context())
        with self._spans.request(parent) as span:
            span.set_attribute("http.request.method", scope["method"])

            def note(start: Message) -> None:
                span.set_attribute("http.response.status_code", start["status"])

            with originating(span=span):
                await self.app(scope, receive, with_start(send, note))
