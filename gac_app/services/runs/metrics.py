"""What a host has done and does, for Prometheus. Names are vLLM's where it has one, with `gac_` in front. No label
tells a text or a visitor.
"""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Callable, Iterable
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from gac_app.decoding.trace import FinishedEvent
from gac_app.services.runs.views import StreamView

_FIRST_TOKEN_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_TOKEN_S = (0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5)
_ANSWER_S = (0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)


class Metrics:
    """Counts answers when they end, whoever asked: the page, the arena, batches or the API."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._answers = self._counter("request_success", "Decoded answers, by their reason.", "finished_reason")
        self._tokens = self._counter("generation_tokens", "Tokens decoded, ends included.")
        self._ensembled = self._counter("steps_ensembled", "Steps at which several members took part.")
        self._drafted = self._counter("steps_drafted", "Steps whose token had been drafted.")
        self._won = self._counter("steps_won", "Steps of ensembles, by the member that carried the token.", "member")
        self._forwards = self._counter("member_forwards", "Forward passes that decoded.", "member")
        self._read = self._counter("member_tokens_read", "Tokens read, those of prompts included.", "member")
        self._pass_s = self._counter(
            "member_seconds", "Seconds of the forward passes that answers took part in.", "member"
        )
        self._votes = self._counter("votes", "Votes stored, those taken back later included.", "tab")
        self._first_token_s = self._histogram(
            "time_to_first_token_seconds", "From the queue to the first token.", _FIRST_TOKEN_S
        )
        self._token_s = self._histogram("request_time_per_output_token_seconds", "A token, after the first.", _TOKEN_S)
        self._answer_s = self._histogram("e2e_request_latency_seconds", "A whole answer, from the queue on.", _ANSWER_S)

    def show(self, name: str, about: str, value: Callable[[], float]) -> None:
        """Show a value as it is whenever it is asked for."""
        Gauge(f"gac_{name}", about, registry=self._registry).set_function(value)

    def answered(self, streams: Iterable[StreamView]) -> None:
        """Count answers that have just been decoded."""
        for stream in streams:
            if stream.finished:
                self._count(stream, stream.finished)

    def voted(self, tab: Literal["compare", "arena"]) -> None:
        """Count a vote that has been stored."""
        self._votes.labels(tab).inc()

    def text(self) -> bytes:
        """All figures, in Prometheus' text format."""
        return generate_latest(self._registry)

    def _count(self, stream: StreamView, end: FinishedEvent) -> None:
        self._answers.labels(end.reason.value).inc()
        self._tokens.inc(end.num_decoded)
        decoded = stream.steps[end.num_replayed :]
        self._ensembled.inc(sum(step.is_ensembled for step in decoded))
        self._drafted.inc(sum(step.is_drafted for step in decoded))
        for member, num_won in Counts(step.winner for step in decoded if step.is_ensembled).items():
            self._won.labels(member).inc(num_won)
        for member, usage in end.members.items():
            self._forwards.labels(member).inc(usage.num_forwards)
            self._read.labels(member).inc(usage.num_tokens_read)
            self._pass_s.labels(member).inc(usage.seconds)
        if end.ttft_s:
            self._first_token_s.observe(end.ttft_s)
            self._answer_s.observe(end.seconds)
        if end.tokens_per_s:
            self._token_s.observe(1 / end.tokens_per_s)

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"gac_{name}", about, labels, registry=self._registry)

    def _histogram(self, name: str, about: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"gac_{name}", about, buckets=buckets, registry=self._registry)
