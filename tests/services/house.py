"""A run service over fake models and a real SQLite file, and the few things that every test does with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gac_app.decoding.trace.events import FinishedEvent, StepTrace
from gac_app.models.base import Model
from gac_app.services.battles.arena import ArenaService
from gac_app.services.mirror.mirror import Mirror
from gac_app.services.runs.runs import LiveRun, RunService
from gac_app.services.runs.views import RunView, StreamView
from gac_app.storage import HistoryFilter, RunSummary, Store
from tests.databases import database_in
from tests.fakes import WAIT_S, FakeModel, config_of, ensemble_of
from tests.storage.samples import newest_first

ALICE, BOB = "a" * 64, "b" * 64
SHORT = {"max_new_tokens": 10}
LONG = {"max_new_tokens": 10_000}  # for runs that somebody stops


def fake_models() -> list[FakeModel]:
    return [FakeModel("a", 1), FakeModel("b", 2)]


def slow_models(delay_s: float = 0.002) -> list[FakeModel]:
    """For runs that are looked at while they go on."""
    return [FakeModel("a", 1, delay_s=delay_s), FakeModel("b", 2, delay_s=delay_s)]


class House:
    """Makes services that share one database file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = database_in(path)
        self._made: list[tuple[RunService, Sequence[Model]]] = []

    def service(
        self, models: Sequence[Model] = (), store: Store | None = None, mirror: Mirror | None = None, **fields: Any
    ) -> RunService:
        models = models or fake_models()
        config = config_of([model.name for model in models], **fields)
        service = RunService(config, store or self.store(), {"gac": "test"}, mirror=mirror)
        service.members.use(ensemble_of(models, config))
        self._made.append((service, models))
        return service

    def store(self) -> Store:
        return Store(self.url, retry_s=5.0)  # a busy machine may stall for seconds

    def close(self) -> None:
        for service, models in self._made:
            for model in models:
                if isinstance(model, FakeModel):
                    model.released.set()
            service.close()


def names_in(arena: ArenaService, visitor_key: str, battle_id: str) -> tuple[str, str]:
    """The names of left and right before the vote, which no page is told."""
    pair = arena.battles.find(visitor_key, battle_id).pair
    return pair["left"].name, pair["right"].name


def until(condition: Callable[[], object], what: str = "", within_s: float = WAIT_S) -> None:
    """Wait for what another thread or process does."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain {what}"
        time.sleep(0.005)


def ended(run: LiveRun) -> LiveRun:
    """`run`, once it is over and known to be stored or not."""
    assert run.wait_for(lambda: run.is_over_and_saved, WAIT_S), "the run goes on and on, or is not stored"
    return run


def begun(run: LiveRun, num_steps: int = 1) -> LiveRun:
    """`run`, once each of its streams has `num_steps` steps."""
    has_begun = run.wait_for(lambda: all(len(one.steps) >= num_steps for one in run.streams.values()), WAIT_S)
    assert has_begun, "there are no steps"
    return run


def answer(service: RunService, prompt: str = "Name three colours", key: str = ALICE, **changes: Any) -> LiveRun:
    """A run from start to end."""
    return ended(service.start(key, prompt, {**SHORT, **changes}))


def listed(service: RunService, key: str = ALICE, search: str = "") -> list[RunSummary]:
    """A visitor's runs in the history, newest first."""
    return newest_first(service.history.conversations(key, HistoryFilter(search=search), 1000))


def end_of(stream: StreamView) -> FinishedEvent:
    assert stream.finished, "it goes on"
    return stream.finished


def texts(run: RunView) -> dict[str, str]:
    return {key: stream.finished.text for key, stream in run.streams.items() if stream.finished}


def essence(step: StepTrace) -> tuple[Any, ...]:
    """What a step decided, without what differs from run to run: times, and how much was caught up."""
    members = tuple((m.member, round(m.weight, 5), round(m.prob, 5), m.rank) for m in step.members)
    return step.position, step.token, round(step.prob, 5), step.is_ensembled, step.winner, members
