"""What is counted of answers, and what a run's row is told of its writes: by hand."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gac_app.decoding.trace import FinishedEvent, FinishReason, MemberUsage, TokenEvent
from gac_app.errors import StorageError
from gac_app.services.runs.live_run import LiveRun, RunPlan
from gac_app.services.runs.metrics import Metrics
from gac_app.services.runs.recorder import Recorder
from gac_app.services.runs.views import StreamView
from gac_app.settings import Settings
from gac_app.storage import RunStatus, Store, Turn
from tests.services.house import until
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


def test_an_answer_without_tokens_has_no_times() -> None:
    metrics = Metrics()
    metrics.answered([stream(0, reason=FinishReason.ABORT, ttft_s=0.0, members={})])
    assert figures(metrics) == {"request_success_total abort": 1}


def test_a_value_is_shown_as_it_is_when_asked_for() -> None:
    metrics, now = Metrics(), [3.0]
    metrics.show("things", "How many.", lambda: now[0])
    assert figures(metrics) == {"things": 3.0}
    now[0] = 4.0
    assert figures(metrics) == {"things": 4.0}


# --- what is written of a run


class FakeStore:
    """Notes writes; each is done when a test says so."""

    def __init__(self, *, breaks: bool = False) -> None:
        self.new: list[Any] = []
        self.answers: list[tuple[str, Any]] = []
        self.statuses: list[tuple[str, RunStatus]] = []
        self.writes: list[Future[None]] = []
        self.breaks = breaks

    def _write(self) -> Future[None]:
        self.writes.append(Future())
        return self.writes[-1]

    def start_run(self, new: Any) -> Future[None]:
        self.new.append(new)
        return self._write()

    def save_answer(self, run_id: str, record: Any) -> Future[None]:
        if self.breaks:
            raise ValueError("xyzzy")
        self.answers.append((run_id, record))
        return self._write()

    def finish_run(self, run_id: str, status: RunStatus) -> Future[None]:
        self.statuses.append((run_id, status))
        return self._write()


def finished_run() -> LiveRun:
    plan = RunPlan(
        prompt="Why?",
        settings=Settings(seed=3),
        conversation_id="c1",
        turns=(Turn("r0", "One?", {}),),
        parent_run_id="r1",
        repeats_run_id="r2",
        branch_position=4,
        swap=(b"x", b"y"),
        seeds={"ensemble": 9},
    )
    run = LiveRun(plan, owner="ann", keys=["ensemble", "member:a"], member_names=("a", "b"))
    run.has_consent = True
    for one in run.streams.values():
        one.events += stream(3).events
    return run


def test_a_run_is_written_whole() -> None:
    store, run = FakeStore(), finished_run()
    recorder = Recorder(cast("Store", store), "hash", {"gac": "1"})
    recorder.started(run, "key")
    [new] = store.new
    told = {
        name: getattr(new, name) for name in ("prompt", "parent_run_id", "branch_position", "swap", "repeats_run_id")
    }
    assert told == {
        "prompt": "Why?",
        "parent_run_id": "r1",
        "branch_position": 4,
        "swap": (b"x", b"y"),
        "repeats_run_id": "r2",
    }
    assert (new.run_id, new.visitor_key, new.conversation_id, new.turn_ids) == (run.id, "key", "c1", ("r0",))
    assert (new.settings, new.member_names) == (Settings(seed=3).model_dump(mode="json"), ("a", "b"))
    assert (new.seeds, new.config_hash, new.versions, new.has_consent) == ({"ensemble": 9}, "hash", {"gac": "1"}, True)
    recorder.finished(run)
    recorder.close(60)
    assert [run_id for run_id, _ in store.answers] == [run.id] * 2
    ensemble, alone = (record for _, record in store.answers)
    assert (ensemble.system, ensemble.is_ensemble, alone.system, alone.is_ensemble) == ("ensemble", True, "a", False)
    assert (alone.finished, list(alone.events)) == (
        run.streams["member:a"].finished,
        run.streams["member:a"].events[:-1],
    )
    assert store.statuses == [(run.id, RunStatus.FINISHED)]
    until(lambda: not recorder._packing)


@pytest.mark.parametrize("lost", [None, 0, 1, 2, 3])
def test_a_run_is_saved_once_all_of_it_is(lost: int | None) -> None:
    store, run, told = FakeStore(), finished_run(), list[bool | None]()
    recorder = Recorder(cast("Store", store), "hash", {})
    with run.telling(lambda: told.append(run.is_saved)):
        recorder.started(run, "key")
        recorder.finished(run)
        recorder.close(60)
        assert (run.is_saved, told) == (None, [])
        for number, write in enumerate(store.writes):
            if number == lost:
                write.set_exception(StorageError("planned"))
                assert (run.is_saved, told[-1]) == (False, False)
            else:
                write.set_result(None)
    assert run.is_saved is (lost is None)
    assert told[-1] is (lost is None)


def test_answers_that_cannot_be_packed_end_the_run_unsaved(caplog: pytest.LogCaptureFixture) -> None:
    store, run = FakeStore(breaks=True), finished_run()
    recorder = Recorder(cast("Store", store), "hash", {})
    recorder.finished(run)
    recorder.close(60)
    [write] = store.writes
    write.set_result(None)
    assert (run.is_saved, store.statuses) == (False, [(run.id, RunStatus.FINISHED)])
    assert f"run {run.id}: its answers could not be packed: ValueError" in caplog.text
    assert "xyzzy" not in caplog.text
