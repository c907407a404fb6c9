"""A run whose rows are damaged is listed as such and can be deleted; whatever else is tried says what is wrong."""

from __future__ import annotations

import pytest

from gac_app.errors import DamagedError
from gac_app.services.runs.runs import RunService
from gac_app.storage import RunStatus
from tests.databases import sql
from tests.services.house import ALICE, SHORT, House, answer, ended, listed

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

    service.history.delete_run(ALICE, run_id)

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
    service.history.delete_run(ALICE, run_id)


def test_times_that_are_none_break_no_list(house: House) -> None:
    service, run_id, whole = damaged(house, "UPDATE run SET created_at = 'yesterday' WHERE id = ?")
    assert {line.run_id for line in listed(service, ALICE)} == {run_id, whole}
    service.history.delete_run(ALICE, run_id)


def test_a_conversation_goes_on_without_a_damaged_turn(house: House) -> None:
    service = house.service()
    first = answer(service, "First?")
    second = ended(service.start(ALICE, "Second?", SHORT, first.conversation_id))
    service.close()
    sql(house.path, IN_A_RUN["body"], first.id)
    service = house.service()

    third = ended(service.start(ALICE, "Third?", SHORT, first.conversation_id))

    asked = [m.content for m in third.streams["ensemble"].messages if m.role == "user"]
    assert asked == [second.prompt, "Third?"]


def test_and_where_its_only_turn_is_damaged(house: House) -> None:
    service = house.service()
    first = answer(service, "First?")
    service.close()
    sql(house.path, IN_A_RUN["body"], first.id)
    service = house.service()

    second = ended(service.start(ALICE, "Second?", SHORT, first.conversation_id))

    assert [message.content for message in second.streams["ensemble"].messages] == ["Second?"]
