"""What is counted of answers, by hand."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gac_app.decoding.trace import FinishedEvent, FinishReason, MemberUsage, TokenEvent
from gac_app.services.runs.metrics import Metrics
from gac_app.services.runs.views import StreamView
from tests.ui.planted import GATED, planted_step


def figures(metrics: Metrics) -> dict[str, float]:
    """By name and labels, without what is 0 and when it was made."""
    samples = [one for family in text_string_to_metric_families(metrics.text().decode()) for one in family.samples]
    return {
        " ".join([one.name.removeprefix("gac_"), *one.labels.values()]): one.value
        for one in samples
        if one.value and not one.name.endswith("_created")
    }


def stream(num_steps: int, num_replayed: int = 0, **end: Any) -> StreamView:
    events = [TokenEvent("x", planted_step(position, "x")) for position in range(num_steps)]
    fields: dict[str, Any] = {
        "reason": FinishReason.STOP,
        "text": "",
        "num_tokens": num_steps,
        "num_ensembled": 0,
        "ttft_s": 0.2,
        "seconds": 1.0,
        "members": {"Small": MemberUsage(3, 30, 0.25), "Large": MemberUsage(1, 10, 0.5)},
        "num_replayed": num_replayed,
    }
    return StreamView("ensemble", events=[*events, FinishedEvent(**{**fields, **end})])


def test_all_of_an_answer_is_counted() -> None:
    metrics = Metrics()
    metrics.answered([stream(6, num_replayed=2), StreamView("a")])
    assert GATED == (1, 3, 4)
    found = figures(metrics)
    histograms = ("time_to_first_token_seconds", "request_time_per_output_token_seconds", "e2e_request_latency_seconds")
    assert {name: value for name, value in found.items() if not name.startswith(histograms)} == {
        "request_success_total stop": 1,
        "generation_tokens_total": 4,
        "steps_ensembled_total": 2,
        "steps_drafted_total": 1,
        "steps_won_total Small": 2,
        "member_forwards_total Small": 3,
        "member_forwards_total Large": 1,
        "member_tokens_read_total Small": 30,
        "member_tokens_read_total Large": 10,
        "member_seconds_total Small": 0.25,
        "member_seconds_total Large": 0.5,
    }
    sums = {name: pytest.approx(found[f"{name}_sum"]) for name in histograms}
    assert sums == dict(zip(histograms, (0.2, 0.8 / 3, 1.0), strict=True))
    assert [found[f"{name}_count"] for name in histograms] == [1, 1, 1]
