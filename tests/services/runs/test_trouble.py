"""Members and databases that fail under a run, and damaged rows: the rest goes on, and says what is missing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import islice
from typing import Any
from unittest.mock import Mock, patch

import pytest

from gac_app.decoding.request import Request
from gac_app.decoding.trace.events import FinishReason
from gac_app.errors import DamagedError, NotFoundError, StorageError
from gac_app.models.sequence import Share
from gac_app.services.runs.live_runs import KEPT_RUNS
from gac_app.services.runs.runs import RunService
from gac_app.storage import RunStatus, Store
from tests.clocks import HANG_S
from tests.databases import locked, sql
from tests.fakes import WAIT_S, FakeModel, Fault
from tests.services.house import ALICE, SHORT, House, answer, end_of, ended, fake_models, listed, texts, until


@contextmanager
def away(store: Store) -> Iterator[None]:
    """Within, a database that went away: it takes no write and gives no run."""
    refuse = Mock(side_effect=StorageError("the database went away"))
    with patch.multiple(store, transact=refuse, load_run=refuse, conversation_runs=refuse):
        yield


def test_without_a_database_answers_stay_unsaved(house: House, other: Store, caplog: pytest.LogCaptureFixture) -> None:
    service = house.service(store=other)
    with away(other), caplog.at_level(logging.ERROR):
        run = answer(service, "a very private prompt")
        assert (run.status, run.is_saved) == (RunStatus.FINISHED, False)
        assert texts(run) == texts(answer(house.service(), "a very private prompt"))
        assert f"run {run.id} was not saved: the database went away" in caplog.text
        assert "very private" not in caplog.text
        assert service.history.find(ALICE, run.id) is run
        assert service.history.steps(ALICE, run.id, "ensemble", 2)[0][2] == run.streams["ensemble"].steps[2]
        with pytest.raises(StorageError, match="went away"):
            service.history.vote(ALICE, run.id, "tie")
        assert run.outcome is None
        second = ended(service.start(ALICE, "Second?", SHORT, run.conversation_id))
        fed = [message.content for message in second.streams["member:b"].messages]
        assert fed == [run.prompt, run.streams["member:b"].text, "Second?"]
        assert [one.id for one in service.history.conversation(ALICE, run.conversation_id)] == [run.id, second.id]
    kept = answer(service)
    assert (run.is_saved, kept.is_saved) == (False, True)
    derived = ended(service.revise(ALICE, run.id, "Another?", SHORT))
    assert (derived.is_saved, derived.parent_run_id) == (True, run.id)
    assert {line.run_id for line in listed(service, ALICE)} == {kept.id, derived.id}
    with away(other):
        lost = ended(service.start(ALICE, "Second?", SHORT, kept.conversation_id))
    assert service.history.delete_conversation(ALICE, kept.conversation_id) == [kept.id, lost.id]
    with pytest.raises(NotFoundError):
        service.history.find(ALICE, lost.id)


def test_what_the_database_takes_later_is_all_done(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    service = house.service(store=Store(f"sqlite:///{house.path}", retry_s=WAIT_S))
    run = answer(service)
    ended(service.start(ALICE, "Second?", SHORT, run.conversation_id))
    monkeypatch.setattr("gac_app.services.writes.STORE_TIMEOUT_S", 0.05)
    with locked(house.path), pytest.raises(StorageError, match="a little later"):
        service.history.vote(ALICE, run.id, "tie")
    until(lambda: run.outcome == "tie", "for the vote to be shown")
    with locked(house.path), pytest.raises(StorageError, match="a little later"):
        service.history.delete_conversation(ALICE, run.conversation_id)
    until(lambda: not listed(service), "for both turns to be deleted")


@pytest.mark.parametrize("error", [StorageError("disk full"), ValueError("xyzzy")], ids=["written", "packed"])
def test_a_run_that_lost_one_write_is_not_called_saved(
    error: Exception, house: House, other: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failed: Future[None] = Future()
    failed.set_exception(error)
    refuse = Mock(return_value=failed) if isinstance(error, StorageError) else Mock(side_effect=error)
    monkeypatch.setattr(other, "save_answer", refuse)
    service = house.service(store=other)
    run = answer(service)
    service.close()  # waits for what is packed
    assert other.flush()
    assert run.is_saved is False, "whatever went well afterwards"
    until(lambda: f"run {run.id}" in caplog.text, "for the log")
    assert "xyzzy" not in caplog.text


def test_finished_runs_do_not_fill_the_memory(house: House, other: Store) -> None:
    service = house.service([FakeModel("a", 1)], store=other)
    with away(other):
        runs = [answer(service, max_new_tokens=1) for _ in range(KEPT_RUNS + 3)]
    with pytest.raises(NotFoundError):
        service.history.find(ALICE, runs[0].id)
    assert service.history.find(ALICE, runs[-1].id) is runs[-1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["nan", "hang"])
def test_a_failing_member_ends_the_streams_it_is_in(house: House, kind: Any, steady_clock: None) -> None:
    models = [FakeModel("a", 1), FakeModel("b", 2, fault=Fault(kind, from_read=2))]
    service = house.service(models)
    run = answer(service, mode="every-step", step_timeout_s=HANG_S if kind == "hang" else 60.0)
    assert (run.status, run.is_saved) == (RunStatus.FAILED, True)
    healthy, broken, ensemble = (end_of(run.streams[key]) for key in ("member:a", "member:b", "ensemble"))
    assert (healthy.reason, healthy.num_tokens) == (FinishReason.LENGTH, 10)
    for finished in (broken, ensemble):
        assert finished.reason is FinishReason.ERROR
        assert finished.detail.startswith("b: ")
    assert texts(run)["member:a"] == texts(answer(house.service()))["member:a"]
    stored = service._store.load_run(ALICE, run.id)
    assert stored.status == RunStatus.FAILED
    assert {answer.finished.reason for answer in stored.answers} == {FinishReason.LENGTH, FinishReason.ERROR}


@pytest.mark.parametrize("kind", ["raise", "hang"])
def test_a_dropped_member_is_marked_in_stored_traces(house: House, kind: Any, steady_clock: None) -> None:
    models = [FakeModel("a", 1), FakeModel("b", 2, fault=Fault(kind, from_read=2))]
    first = house.service(models)
    run = answer(first, mode="every-step", on_member_failure="drop", step_timeout_s=HANG_S if kind == "hang" else 60.0)
    assert run.status == RunStatus.FINISHED
    models[1].released.set()
    first.close()
    found = house.service().history.find(ALICE, run.id)
    dropped = [step.dropped for step in found.streams["ensemble"].steps]
    num_whole = dropped.count(())  # reads that are shared or drafted move it by a step or two
    assert num_whole < 10, num_whole
    assert dropped == [()] * num_whole + [("b",)] * (10 - num_whole)
    assert end_of(found.streams["member:b"]).reason is FinishReason.ERROR


def test_one_visitor_s_failure_is_not_another_s(house: House) -> None:
    fault = Fault("raise", marker=b"BAD")
    models = [FakeModel(name, seed, fault=fault, delay_s=0.001) for seed, name in enumerate("ab")]
    service = house.service(models, server={"max_running": 4})
    runs = [service.start(ALICE, text, SHORT) for text in ("good one", "BAD", "good two", "BAD too")]
    assert [ended(run).status for run in runs] == [RunStatus.FINISHED, RunStatus.FAILED] * 2


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_an_unexpected_fault_tells_no_internals(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    service = house.service(fake_models())
    first = answer(service)
    ensemble = service.members.ensemble()
    real = ensemble.open

    def opened(request: Request, share: Share, **options: Any) -> Any:
        if request.alone == "a":
            raise error("secret detail")
        return real(request, share, **options)

    monkeypatch.setattr(ensemble, "open", opened)
    run = ended(service.extend(ALICE, first.id))
    broken = end_of(run.streams["member:a"])
    assert broken.reason is FinishReason.ERROR
    assert (broken.num_tokens, broken.num_decoded) == (10, 0), "it had kept the first answer's"
    assert "secret" not in broken.detail
    assert error.__name__ in caplog.text
    assert run.status == RunStatus.FINISHED
    assert texts(run)["member:b"]


IN_A_RUN = {
    "body": "UPDATE run SET body = x'00' WHERE id = ?",
    "text for bytes": "UPDATE run SET body = 'text' WHERE id = ?",
    "status": "UPDATE run SET status = 'bogus' WHERE id = ?",
    "key": "UPDATE run_key SET key = zeroblob(7) WHERE id = (SELECT key_id FROM run WHERE run.id = ?)",
    "no key": "UPDATE run SET key_id = 99 WHERE id = ?",
    "vote": "INSERT INTO vote (run_id, body, created_at) VALUES (?, x'00', '2026-01-01 00:00:00')",
}
IN_AN_ANSWER = {
    "answer": "UPDATE answer SET body = x'' WHERE run_id = ?",
    "reason": "UPDATE answer SET finish_reason = 'bogus' WHERE run_id = ?",
}
IN_STEPS = {
    table: f"UPDATE {table} SET steps = zeroblob(40) WHERE answer_id IN (SELECT id FROM answer WHERE run_id = ?)"
    for table in ("trace", "outline")
}


def damaged(house: House, statement: str) -> tuple[RunService, str, str]:
    """A service after a restart, with a run that is damaged and, in a conversation of its own, one that is whole."""
    service = house.service()
    run, whole = answer(service, "damaged"), answer(service, "whole")
    service.close()
    sql(house.path, statement, run.id)
    return house.service(), run.id, whole.id


@pytest.mark.slow
@pytest.mark.parametrize("kind", IN_A_RUN | IN_AN_ANSWER)
def test_it_is_named_when_opened_or_voted_on_and_can_be_deleted(house: House, kind: str) -> None:
    service, run_id, whole = damaged(house, (IN_A_RUN | IN_AN_ANSWER)[kind])
    for attempt in (
        lambda: service.history.find(ALICE, run_id),
        lambda: service.history.vote(ALICE, run_id, "tie"),
        lambda: service.history.undo_vote(ALICE, run_id),
        lambda: service.rerun(ALICE, run_id),
        lambda: service.history.steps(ALICE, run_id, "ensemble", 0),
    ):
        with pytest.raises(DamagedError, match="can be deleted"):
            attempt()
    statuses = {line.run_id: line.status for line in listed(service, ALICE)}
    assert statuses[whole] == RunStatus.FINISHED
    assert statuses[run_id] == (RunStatus.DAMAGED if kind in IN_A_RUN else RunStatus.FINISHED)
    assert [line.run_id for line in listed(service, ALICE, search="whole")] == [whole]
    exported = {line["run_id"]: line["status"] for line in house.store().export()}
    assert exported == {run_id: "damaged", whole: "finished"}
    service.history.delete_runs(ALICE, [run_id])
    assert [line.run_id for line in listed(service, ALICE)] == [whole]


@pytest.mark.parametrize("table", IN_STEPS)
def test_where_only_steps_are_damaged_the_text_is_shown(house: House, table: str) -> None:
    service, run_id, whole = damaged(house, IN_STEPS[table])
    stream = service.history.find(ALICE, run_id).streams["ensemble"]
    assert stream.text
    with pytest.raises(DamagedError, match="can be deleted"):
        list(stream.steps if table == "trace" else stream.outline)
    exported = {line["run_id"]: line["status"] for line in house.store().export()}
    assert exported == {run_id: "damaged" if table == "trace" else "finished", whole: "finished"}
    service.history.delete_runs(ALICE, [run_id])


def test_times_that_are_none_break_no_list(house: House) -> None:
    service, run_id, whole = damaged(house, "UPDATE run SET created_at = 'yesterday' WHERE id = ?")
    assert {line.run_id for line in listed(service, ALICE)} == {run_id, whole}
    assert [line["run_id"] for line in islice(house.store().export(), 3)] == [whole, run_id]
    service.history.delete_runs(ALICE, [run_id])


@pytest.mark.parametrize(("kind", "asked"), [("body", []), ("body", ["Second?"]), ("vote", ["First?", "Second?"])])
def test_a_conversation_goes_on_without_a_damaged_turn(house: House, kind: str, asked: list[str]) -> None:
    service = house.service()
    first = answer(service, "First?")
    for prompt in asked[-1:]:
        ended(service.start(ALICE, prompt, SHORT, first.conversation_id))
    service.close()
    sql(house.path, IN_A_RUN[kind], first.id)
    last = ended(house.service().start(ALICE, "Last?", SHORT, first.conversation_id))
    assert [m.content for m in last.streams["ensemble"].messages if m.role == "user"] == [*asked, "Last?"]
