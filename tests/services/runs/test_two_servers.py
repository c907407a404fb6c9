"""Two servers on one database: a run is shown, followed and stopped on either, by its owner alone."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from sqlalchemy import select, update

from gac_app.decoding.trace import outline_to_json
from gac_app.errors import ElsewhereError, NotFoundError, RequestError
from gac_app.services.runs.runs import LiveRun, RunService
from gac_app.services.runs.views import RunView, is_over
from gac_app.storage import Store, Wish
from gac_app.storage.database.tables import Signal
from gac_app.storage.runs.tables import Run
from tests.fakes import WAIT_S, FakeModel
from tests.services.house import ALICE, BOB, LONG, SHORT, House, answer, begun, ended, texts, until

GO_ON = """
import sys, time
from pathlib import Path
from gac_app.storage import Store
from tests.fakes import FakeModel
from tests.services.house import ALICE, House, begun

models = [FakeModel("a", 1, delay_s=0.05), FakeModel("b", 2, delay_s=0.05)]
service = House(Path()).service(models, Store(sys.argv[1]))
run = begun(service.start(ALICE, "Go on", {"max_new_tokens": 200}))
service._store.flush()
print(run.id, flush=True)
time.sleep(600)
"""


def long_run(service: RunService) -> LiveRun:
    """One of Alice's that goes on until it is stopped."""
    run = begun(service.start(ALICE, "Go on", LONG))
    service._store.flush()
    return run


def followed(service: RunService, run_id: str, num_seen: int = 0) -> RunView:
    """The run of another server, once more than `num_seen` tokens of each answer are known."""
    found: list[RunView] = []

    def has_grown() -> bool:
        found.append(service.follow_elsewhere(ALICE, run_id))
        return all(len(stream.outline) > num_seen for stream in found[-1].streams.values())

    until(has_grown, "for the answers to grow")
    return found[-1]


def slow(house: House) -> RunService:
    return house.service([FakeModel("a", 1, delay_s=0.002), FakeModel("b", 2, delay_s=0.002)])


def test_a_run_is_stopped_on_the_other_server(house: House) -> None:
    here, there = slow(house), house.service()
    run = long_run(here)
    seen = there.history.find(ALICE, run.id)
    assert (seen.status, list(seen.streams), is_over(seen)) == ("running", ["ensemble"], False)
    there.stop(ALICE, run.id)
    ended(run)
    found = there.follow_elsewhere(ALICE, run.id)
    assert (found.status, texts(found)) == ("aborted", texts(run))
    there.stop(ALICE, run.id)  # which does nothing


def test_answers_grow_on_the_other_server(house: House) -> None:
    here, there = slow(house), house.service()
    run = long_run(here)
    num_seen = 0
    for _ in range(2):
        seen = followed(there, run.id, num_seen)
        assert (seen.status, list(seen.streams)) == ("running", list(run.streams))
        for key, stream in seen.streams.items():
            num_seen = len(stream.outline)
            own = run.streams[key].outline[:num_seen]
            assert list(map(outline_to_json, stream.outline)) == list(map(outline_to_json, own))
            assert stream.text == "".join(step.text for step in stream.outline)
    there.stop(ALICE, run.id)
    assert texts(there.history.find(ALICE, ended(run).id)) == texts(run)


def test_its_tokens_can_be_inspected_there_when_it_is_done(house: House) -> None:
    here, there = slow(house), house.service()
    run = long_run(here)
    followed(there, run.id)
    for ask in (
        lambda: there.history.steps(ALICE, run.id, "ensemble", 0),
        lambda: there.branch(ALICE, run.id, 0, 1),
    ):
        with pytest.raises(ElsewhereError, match="its tokens can be inspected when it is done"):
            ask()
    there.stop(ALICE, run.id)
    steps, _ = there.history.steps(ALICE, ended(run).id, "ensemble", 0)
    assert len(steps) == len(run.streams["ensemble"].steps)


def test_nobody_reads_what_another_visitor_follows(house: House) -> None:
    here, there = slow(house), house.service(server={"sharing": True})
    run = long_run(here)
    followed(there, run.id)
    for ask in (there.history.find, there.history.look, there.follow_elsewhere):
        with pytest.raises(NotFoundError):
            ask(BOB, run.id)
    assert [run["answers"] for run in there._store.export()] == [[]]


def test_an_owner_s_death_leaves_what_was_followed(house: House) -> None:
    process = subprocess.Popen([sys.executable, "-c", GO_ON, house.url], stdout=subprocess.PIPE, text=True)
    try:
        there = house.service()
        assert process.stdout is not None
        run_id = process.stdout.readline().strip()
        told = {key: stream.text for key, stream in followed(there, run_id).streams.items()}
        process.kill()
        process.wait(WAIT_S)
        after = house.service()
        seen = after.history.find(ALICE, run_id)
        with pytest.raises(NotFoundError, match="only its text was kept"):
            after.history.steps(ALICE, run_id, "ensemble", 0)
        assert (seen.status, is_over(seen), seen.as_turn().answers) == ("interrupted", True, {})
        assert all(stream.text.startswith(told[key]) for key, stream in seen.streams.items())
        again = ended(there.regenerate(ALICE, run_id, "ensemble"))
        assert {len(stream.steps) for stream in again.streams.values()} == {200}
    finally:
        process.kill()
        process.communicate()


def test_what_nobody_followed_is_empty_when_its_owner_dies(house: House) -> None:
    here, there = slow(house), house.service()
    run = long_run(here)
    here._store.close()
    seen = there.history.find(ALICE, run.id)
    assert (seen.status, list(seen.streams), seen.as_turn().answers) == ("interrupted", ["ensemble"], {})


def test_one_request_to_another_server_waits_at_a_time(house: House) -> None:
    """So that many pages that follow a run cost as much as one."""
    run = long_run(house.service(store=Store(house.url)))
    there = house.store()
    run_of_none = update(Run).where(Run.id == run.id).values(server_id="nobody")  # who hears nothing
    there.write(lambda session: session.execute(run_of_none)).result()
    for wish in (Wish.FOLLOW, Wish.FOLLOW, Wish.STOP, Wish.FOLLOW):
        there.signal_run(ALICE, run.id, wish).result()
    with there.reading() as session:
        assert sorted(session.scalars(select(Signal.wish))) == [Wish.FOLLOW, Wish.STOP]
    there.close()


def test_nobody_stops_another_visitor_s_run(house: House) -> None:
    here, there = slow(house), house.service()
    run = long_run(here)
    for ask in (there.stop, there.follow_elsewhere):
        with pytest.raises(NotFoundError):
            ask(BOB, run.id)
    for wish in Wish:
        with pytest.raises(NotFoundError):
            there._store.signal_run(BOB, run.id, wish).result()
    num = len(run.streams["ensemble"].steps)
    until(lambda: len(run.streams["ensemble"].steps) > num + 20)
    assert not run.is_stopping.is_set()


def test_a_run_goes_on_while_a_page_elsewhere_follows_it(house: House) -> None:
    here, there = slow(house), house.service()
    here.audience.unseen_s = 1.0
    run = long_run(here)
    with here.following(run):
        here.note_seen(ALICE, run.id)
    until_s = time.monotonic() + 2 * here.audience.unseen_s
    while time.monotonic() < until_s:
        there.follow_elsewhere(ALICE, run.id)
        time.sleep(0.02)
        assert not run.is_stopping.is_set()
    ended(run)
    assert run.status == "aborted"


def test_a_conversation_waits_for_the_other_server(house: House) -> None:
    here, there = slow(house), house.service()
    run = long_run(here)
    with pytest.raises(RequestError, match="another server still writes"):
        there.start(ALICE, "And then?", {}, run.conversation_id)
    there.stop(ALICE, run.id)
    ended(run)
    next_turn = ended(there.start(ALICE, "And then?", SHORT, run.conversation_id)).turns
    assert [turn.answers["ensemble"] for turn in next_turn] == [texts(run)["ensemble"]]


def test_what_is_deleted_elsewhere_is_forgotten(house: House) -> None:
    """In memory too, and in the context of a later turn."""
    here, there = house.service(), house.service()
    first, other = answer(here), answer(here, "Another")
    second = ended(here.start(ALICE, "And then?", SHORT, first.conversation_id))
    there.history.delete_run(ALICE, first.id)
    until(lambda: here._runs.get(first.id) is None)
    assert [run.id for run in here.history.conversation(ALICE, first.conversation_id)] == [second.id]
    until(lambda: not second.turns)
    there.history.delete_all(ALICE)
    until(lambda: not here._runs.all())
    with pytest.raises(NotFoundError):
        here.history.find(ALICE, other.id)


def test_what_is_deleted_elsewhere_is_stopped(house: House) -> None:
    here, there = slow(house), house.service()
    for delete in (lambda run: there.history.delete_run(ALICE, run.id), lambda _: there.history.delete_all(ALICE)):
        run = long_run(here)
        delete(run)
        assert run.over.wait(10)
        with pytest.raises(NotFoundError):
            there.history.find(ALICE, run.id)
