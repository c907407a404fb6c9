"""What is read in the background waits for whoever is decoding, and gets the same."""

from __future__ import annotations

import math
import threading
from typing import Any

import pytest

from gac_app.decoding.trace.events import FinishReason
from gac_app.executors import fair_queue
from gac_app.executors.members import in_background
from gac_app.models.sequence import BACKGROUND, LOCAL
from tests.executors.conftest import Clock
from tests.executors.desk import LONG, Desk
from tests.fakes import WAIT_S, FakeModel, after, config_of, ensemble_of, in_worker, steps_and_end


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setattr(fair_queue, "BACKGROUND_REST", 1e9)
    monkeypatch.setattr(fair_queue, "PRESENT_S", 1e9)
    desk = Desk()
    desk.ask(desk.open("study"), is_background=True)  # the first one need not wait: then it is the others' turn
    desk.run()
    return desk


@pytest.mark.parametrize("text", ["short", LONG])
def test_it_waits_for_a_run_and_goes_on_after_it(desk: Desk, text: str) -> None:
    study, run = desk.ask(desk.open(text), is_background=True), desk.open("run")
    for number in range(5):
        asked = desk.ask(run, [7] * (number > 0))
        desk.run()
        assert asked.done()
        assert not study.done(), "also between two steps, when nobody else asks"
        assert 0 < desk.scheduler.idle_s() < math.inf
    desk.scheduler.free(run)
    assert desk.scheduler.idle_s() == 0
    desk.run()
    assert study.result().num_read == len(desk.model.encode_raw(text))
    assert desk.scheduler.idle_s() == math.inf


def test_beside_a_run_it_has_a_tenth_of_the_time(clock: Clock) -> None:
    desk = Desk(clock.passes)
    run, study = desk.open("run"), desk.open(LONG)
    desk.ask(run)
    desk.run()
    asked, began_s = desk.ask(study, is_background=True), clock.now_s
    while not asked.done():
        desk.ask(run, [7])
        desk.run()
    share = len(study.ids) / 100 / (clock.now_s - began_s)
    assert share == pytest.approx(0.1, rel=0.2), "it never waits in vain, and never takes more"


@pytest.mark.parametrize("text", ["short", LONG])
def test_runs_wait_for_each_other_as_if_it_was_not_there(desk: Desk, text: str) -> None:
    one, other = desk.open("one"), desk.open("other")
    desk.read_together([one, other], {1: 1.0, 2: 1.2})
    desk.ask(desk.open(text), is_background=True)
    desk.run()
    desk.ask(one, [7])
    assert desk.scheduler.max_wait_s() == pytest.approx(0.4), "half of what a shared pass saves"


def pair() -> tuple[list[FakeModel], Any]:
    models = [FakeModel("a", 1, delay_s=0.001), FakeModel("b", 2)]
    return models, config_of(["a", "b"], {"mode": "every-step", "max_new_tokens": 30})


def test_a_study_gets_the_same_and_gives_way_to_runs() -> None:
    models, config = pair()
    ensemble = ensemble_of(models, config)
    background, _ = in_background(ensemble)
    member = background.members["a"]
    assert not member.is_free_for(member.open([1], LOCAL)), "its reads along yield, also to the study's own"
    (_, expected), (_, found) = (steps_and_end(one.generate("Name three colours")) for one in (ensemble, background))
    assert (found.text, found.digest) == (expected.text, expected.digest)
    assert background.score("One, two,", [" three"]) == pytest.approx(ensemble.score("One, two,", [" three"]))
    background.close()
    assert not any(model.is_closed for model in models)
    ensemble.close()


def test_a_study_reads_along_only_while_no_run_decodes(desk: Desk) -> None:
    """Each pass would delay those that it waits for."""
    study, run = desk.open("study"), desk.open("run")
    study.is_awaited = False
    desk.ask(run)
    desk.run()
    asked = desk.ask(study, is_background=True)
    assert desk.scheduler.idle_s() > 0
    desk.scheduler.free(run)
    desk.run()
    assert asked.done()


@pytest.mark.parametrize("is_silent", [False, True])
def test_a_worker_sees_that_a_study_need_wait_no_longer(monkeypatch: pytest.MonkeyPatch, *, is_silent: bool) -> None:
    """The study asks for what it reads along, or the run reads nothing for a while: no command tells the worker."""
    monkeypatch.setattr(fair_queue, "PRESENT_S", 1e9)
    ensemble = ensemble_of(pair()[0][:1], config_of(["a"], {}))
    member = ensemble.members["a"]
    run, study = (member.open(member.encode("text"), share) for share in (LOCAL, BACKGROUND))
    member.read(after(run)).result(WAIT_S)
    study.is_awaited = False
    asked = member.read(after(study))
    in_worker(member)
    assert not asked.done()
    if is_silent:
        monkeypatch.setattr(fair_queue, "PRESENT_S", -1.0)
    else:
        study.is_awaited = True
    assert asked.result(WAIT_S).num_read
    ensemble.close()


def test_a_study_that_is_stopped_ends_while_a_run_goes_on() -> None:
    models, config = pair()
    ensemble = ensemble_of(models, config)
    run = ensemble.session("run", config.settings.model_copy(update={"max_new_tokens": 4000})).events()
    next(run)
    background, stop = in_background(ensemble)
    finished: list[Any] = []
    study = threading.Thread(target=lambda: finished.extend(background.generate("study")))
    study.start()
    for _ in range(10):
        next(run)
    stop()
    study.join(WAIT_S)
    assert finished[-1].reason is FinishReason.ERROR
    assert steps_and_end(background.generate("another"))[1].reason is FinishReason.ERROR
    next(run)
    run.close()
    ensemble.close()
