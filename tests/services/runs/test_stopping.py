"""A stop, a closed page, a deletion, the end of the process: computing ends, memory freed, the row says how it was."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from gac_app.decoding.trace.events import FinishReason
from gac_app.executors import threads
from gac_app.models.message import Message
from gac_app.services.battles.arena import ArenaService
from gac_app.services.completions.completion_run import Question
from gac_app.services.completions.completions import Asker, Completions
from gac_app.services.runs.runs import LiveRun
from gac_app.storage import RunStatus
from tests.fakes import SOON_S, WAIT_S, FakeModel, Fault
from tests.services.house import ALICE, LONG, SHORT, House, begun, end_of, ended, listed, slow_models, texts, until


def test_a_stop_ends_and_frees_every_stream(house: House) -> None:
    models = slow_models()
    service = house.service(models)
    run = begun(service.start(ALICE, "Go on", LONG), num_steps=3)
    stopped_at = time.monotonic()
    service.stop(ALICE, run.id)
    assert run.over.wait(WAIT_S)
    assert time.monotonic() - stopped_at < SOON_S
    num_passes = [len(model.batches) for model in models]
    time.sleep(0.05)
    assert [len(model.batches) for model in models] == num_passes, "nothing is computed for nobody"
    assert ended(run).status == RunStatus.ABORTED
    for stream in run.streams.values():
        assert end_of(stream).reason is FinishReason.ABORT
        assert end_of(stream).text == stream.text != ""
    stored = service._store.load_run(ALICE, run.id)
    assert stored.status == RunStatus.ABORTED
    assert {a.finished.text for a in stored.answers} == set(texts(run).values())
    service.history.delete_runs(ALICE, [run.id])  # until then the conversation may go on
    until(lambda: [model.num_held for model in models] == [0, 0], "for the sequences to be freed")


@pytest.mark.parametrize("hung", ["first read", "later read"])
def test_a_stop_is_heard_while_a_member_hangs(house: House, hung: str) -> None:
    hanging = FakeModel("b", 2, fault=Fault("hang", from_read=0 if hung == "first read" else 2))
    service = house.service([FakeModel("a", 1), hanging])
    run = service.start(ALICE, "Go on", {**LONG, "mode": "every-step"})
    assert hanging.is_hanging.wait(WAIT_S)
    second = service.start(ALICE, "Its member is busy already", {**LONG, "mode": "every-step"})
    until(lambda: second.status == "running")
    stopped_at = time.monotonic()
    service.stop(ALICE, run.id)
    service.stop(ALICE, second.id)
    for stopped in (run, second):
        assert stopped.over.wait(WAIT_S)
        assert stopped.status == RunStatus.ABORTED
    assert time.monotonic() - stopped_at < SOON_S
    hanging.released.set()
    service.history.delete_all(ALICE)
    until(lambda: hanging.num_held == 0, "for the slot to be freed")


def test_closing_the_service_aborts_its_runs(house: House) -> None:
    models = slow_models()
    service = house.service(models, server={"max_running": 1})
    running = begun(service.start(ALICE, "running", LONG))
    waiting = service.start(ALICE, "waiting", LONG)
    started = time.monotonic()
    service.close()
    assert time.monotonic() - started < SOON_S
    assert running.over.is_set()
    assert waiting.over.is_set()
    assert all(model.is_closed for model in models)
    later = house.service()
    statuses = {line.prompt: line.status for line in listed(later, ALICE)}
    assert statuses == {"running": RunStatus.ABORTED, "waiting": RunStatus.ABORTED}
    assert later.history.find(ALICE, running.id).streams["member:a"].text == running.streams["member:a"].text


def test_a_run_that_cannot_be_ended_becomes_interrupted(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_CLOSE_TIMEOUT_S", 0.1)
    # The run's own threads are stuck: a stop does not reach them.
    monkeypatch.setattr("gac_app.decoding.contexts.gathering.POLL_S", WAIT_S)
    model = FakeModel("a", 1, fault=Fault("hang", marker=b"HANG"))
    alone = [{"name": name, "member": "a"} for name in ("one", "two")]
    service = house.service([model], server={"max_running": 21}, arena={"contestants": alone})
    arena, completions = ArenaService(service, service._store), Completions(service)
    asker = Asker(visitor_key=ALICE, client="", max_at_once=None)
    system, prompts = completions.systems.find("a"), ((Message("user", "HANG"),),)
    question = Question(system=system, settings=service.config.settings, prompts=prompts)
    for number in range(3):
        completions.start(question, asker)
        arena.start(f"{number}" * 64, "HANG")
    others = [*completions._live.values(), *(battle.last for battle in arena.battles.all())]
    runs = [service.start(ALICE, f"HANG {number}", SHORT) for number in range(15)]
    until(lambda: all(run.sessions for run in others) and all(len(run.sessions) == 2 for run in runs))
    assert model.is_hanging.wait(WAIT_S)
    started = time.monotonic()
    service.close()
    assert time.monotonic() - started < 25, "one deadline for all runs, not one each"
    statuses = [line.status for line in listed(house.service(), ALICE)]
    assert statuses.count(RunStatus.INTERRUPTED) > 10, "all but those that had not begun to read"


def test_a_run_ends_soon_after_its_last_page_has_left(house: House) -> None:
    service = house.service(slow_models())
    unseen, shown = (begun(service.start(ALICE, "Go on", LONG)) for _ in range(2))

    def leave(unseen_s: float) -> None:
        with service.following(shown):
            service._runner.unseen_s = unseen_s

    service._runner.unseen_s = 10 * WAIT_S
    with service.following(unseen):
        with service.following(unseen):
            pass
        assert not unseen.is_stopping.is_set()
    assert ended(unseen).status == RunStatus.ABORTED, "no page has shown it"
    service.note_seen(ALICE, shown.id)
    leave(0.1)
    with service.following(shown):
        assert not shown.over.wait(0.3), "a page is back"
    leave(0.1)
    leave(10 * WAIT_S)
    assert not shown.over.wait(0.3), "a page was back since"
    leave(0.05)
    assert ended(shown).status == RunStatus.ABORTED


def test_a_later_turn_is_stopped_and_its_reads_forgotten(house: House) -> None:
    models = slow_models()
    service = house.service(models)
    first = ended(service.start(ALICE, "a very private prompt", SHORT))
    second = begun(service.start(ALICE, "Second?", LONG, first.conversation_id))
    service.history.delete_runs(ALICE, [first.id])
    assert second.over.is_set()
    assert ended(second).status == RunStatus.ABORTED
    assert [m.content for m in second.streams["ensemble"].messages] == ["Second?"]
    until(lambda: [model.num_held for model in models] == [0, 0], "for the sequences to be freed")
    third = ended(service.start(ALICE, "Third?", SHORT, first.conversation_id))
    assert first.prompt not in str(third.streams["ensemble"].messages)


def test_a_turn_that_waits_for_a_deletion_begins_afresh(house: House) -> None:
    service = house.service(slow_models())
    first = ended(service.start(ALICE, "a very private prompt", SHORT))
    second = ended(service.start(ALICE, "Second?", SHORT, first.conversation_id))
    real, started = service._store.delete_run, list[Future[LiveRun]]()

    def delete_slowly(key: str, run_id: str) -> Any:
        started.append(pool.submit(service.start, ALICE, "Third?", SHORT, first.conversation_id))
        with pytest.raises(TimeoutError):  # it has to wait
            started[0].result(0.2)
        return real(key, run_id)

    service._store.delete_run = delete_slowly  # type: ignore[method-assign]
    with ThreadPoolExecutor() as pool:
        service.history.delete_runs(ALICE, [first.id])
        third = ended(started[0].result(WAIT_S))
    asked = [m.content for m in third.streams["ensemble"].messages if m.role == "user"]
    assert asked == [second.prompt, "Third?"]
