from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from gac_app.errors import RequestError, unpacked
from gac_app.services.runs.runs import RunService
from gac_app.storage.runs import traces
from gac_app.ui.compare import records
from gac_app.ui.compare.run_handlers import RunHandlers
from tests.fakes import WAIT_S
from tests.services.house import ended, listed, until
from tests.ui.planted import ANSWER, KEY, PlantedEnsemble, planted_config, planted_service
from tests.ui.spy import Spy, collect, lines_of


def handlers_of(service: RunService) -> RunHandlers:
    return RunHandlers(service, threading.Semaphore())


def notice_of(update: Any) -> dict[str, Any]:
    found: dict[str, Any] = unpacked(json.loads(update[3]))
    return found


def header_of(update: Any) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(update[0].splitlines()[0])["run"]
    return header


def run_id_of(update: Any) -> str:
    return str(header_of(update)["id"])


def place_of(update: Any) -> dict[str, str]:
    """What the page sends with the next prompt."""
    return dict(header_of(update)["place"])


def opened(handlers: RunHandlers, key: str, run_id: str) -> Any:
    return collect(handlers.on("open")(event(key=key, run=run_id)))[-1]


def event(**data: Any) -> gr.EventData:
    return gr.EventData(None, data)


def test_a_prompt_is_answered_and_the_box_emptied(service: RunService) -> None:
    updates = collect(handlers_of(service).run(KEY, None, "hello", {}))
    first, last = updates[0], updates[-1]
    assert (first[1], first[2], first[3]) == ("[]", "", "")
    lines = lines_of(last[0])
    assert "".join(line[1] for line in lines if isinstance(line, list) and line[0] == 0) == "".join(ANSWER)
    assert lines[-1]["done"]["saved"] is True


def test_a_page_is_told_of_changes_and_does_not_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gac_app.ui.compare.run_handlers.PERIOD_S", 0.0)
    monkeypatch.setattr("gac_app.ui.compare.run_handlers.UNTOLD_S", WAIT_S)
    service = planted_service(tmp_path, PlantedEnsemble(pieces=["word "] * 16, pause_s=0.1))
    updates = collect(handlers_of(service).run(KEY, None, "hello", {}))
    assert 5 <= len(updates) <= 3 * 17 + 6, "at most one for each event of three streams, and the run's own changes"
    service.close()


def test_bad_requests_become_one_notice_and_keep_the_prompt(service: RunService) -> None:
    handlers = handlers_of(service)
    for key, prompt, message in [
        (KEY, "  ", "Enter a prompt"), (KEY, None, "expected text"), (KEY, ["x"], "expected text"),
        ("short", "hello", "reload it"),
    ]:  # fmt: skip
        [update] = collect(handlers.run(key, None, prompt, {}))
        assert message in notice_of(update)["error"]
        assert update[2] == gr.skip()
    for data in (None, [], "x", {}, {"key": KEY}, {"key": KEY, "run": {}}):
        assert notice_of(collect(handlers.on("open")(gr.EventData(None, data)))[-1])["error"]
    service.members._ensemble = None
    [update] = collect(handlers.run(KEY, None, "hello", {}))
    assert "still loading" in notice_of(update)["error"]
    assert notice_of(update)["passes"]
    assert listed(service, KEY) == []


def left(updates: Any, *, is_seen: Any = None) -> str:
    """Take two updates of a run and go; returns the run's id. `is_seen`: the service that is told that it was seen."""

    async def leave() -> str:
        run_id = run_id_of(await anext(updates))
        if is_seen:
            is_seen.note_seen(KEY, run_id)
        await anext(updates)
        await updates.aclose()
        return run_id

    return asyncio.run(leave())


@pytest.fixture
def endless(tmp_path: Path) -> Iterator[RunService]:
    service = planted_service(tmp_path, PlantedEnsemble(pieces=["word "] * 10_000, pause_s=0.005))
    yield service
    service.close()


def test_a_run_whose_page_left_while_it_began_ends(endless: RunService, monkeypatch: pytest.MonkeyPatch) -> None:
    begins, has_left, start = threading.Event(), threading.Event(), endless.start

    def start_late(*args: Any, **options: Any) -> Any:
        begins.set()
        assert has_left.wait(WAIT_S)
        return start(*args, **options)

    monkeypatch.setattr(endless, "start", start_late)

    async def leave() -> None:
        coming = asyncio.ensure_future(anext(handlers_of(endless).run(KEY, None, "hello", {})))
        assert await asyncio.to_thread(begins.wait, WAIT_S)
        coming.cancel()
        await asyncio.wait([coming])
        has_left.set()
        await asyncio.get_running_loop().shutdown_default_executor()

    asyncio.run(leave())
    until(endless._runs.all, "for the run to begin")
    [run] = endless._runs.all()
    ended(run)
    assert run.status == "aborted"


def test_a_run_is_found_again_within_the_time_and_ends_after_it(endless: RunService) -> None:
    handlers = handlers_of(endless)
    run_id = left(handlers.run(KEY, None, "hello", {}), is_seen=endless)
    run: Any = endless.history.find(KEY, run_id)
    assert not run.over.wait(0.2)

    assert left(handlers.on("open")(event(key=KEY, run=run_id))) == run_id
    assert not run.over.wait(0.1), "it goes on after the page that found it, too"

    endless._runner.unseen_s = 0.05
    assert left(handlers.on("open")(event(key=KEY, run=run_id))) == run_id
    ended(run)
    assert run.status == "aborted"


def test_a_branch_takes_its_parents_place_among_the_turns(service: RunService) -> None:
    handlers = handlers_of(service)
    first = collect(handlers.run(KEY, None, "hello", {}))[0]
    branched = collect(handlers.on("branch")(event(key=KEY, run=run_id_of(first), position=1, token=7)))[0]
    assert branched[1] == "[]"
    second = collect(handlers.run(KEY, place_of(branched), "and then?", {}))[0]
    assert [turn["id"] for turn in json.loads(second[1])] == [run_id_of(branched)]
    again = collect(handlers.on("branch")(event(key=KEY, run=run_id_of(first), position=2, token=7)))[0]
    assert again[1] == "[]"


def test_an_earlier_turn_opened_goes_on_in_its_conversation(service: RunService) -> None:
    handlers = handlers_of(service)
    first = collect(handlers.run(KEY, None, "hello", {}))[0]
    second = collect(handlers.run(KEY, place_of(first), "and then?", {}))[0]
    earlier = opened(handlers, KEY, run_id_of(first))
    assert place_of(earlier) == place_of(second)
    marks = [(turn["id"], turn["is_shown"]) for turn in json.loads(earlier[1])]
    assert marks == [(run_id_of(first), True), (run_id_of(second), False)]
    third = collect(handlers.run(KEY, place_of(earlier), "and now?", {}))[0]
    assert [turn["prompt"] for turn in json.loads(third[1])] == ["hello", "and then?"]
    fed = service.history.find(KEY, run_id_of(third)).streams["ensemble"].messages
    assert [message.content for message in fed if message.role == "user"] == ["hello", "and then?", "and now?"]
    newest = opened(handlers, KEY, run_id_of(third))
    assert [turn["is_shown"] for turn in json.loads(newest[1])] == [False, False]
    assert place_of(opened(handlers, KEY, run_id_of(first))) == place_of(third), "after the last turn, not the next"


def test_versions_are_no_turns_and_the_shown_one_goes_on(service: RunService) -> None:
    handlers = handlers_of(service)
    first = collect(handlers.run(KEY, None, "hello", {}))[0]
    again = collect(handlers.on("regenerate")(event(key=KEY, run=run_id_of(first), stream="ensemble")))[0]
    older = opened(handlers, KEY, run_id_of(first))
    for update in (again, older):
        assert header_of(update)["versions"] == [run_id_of(first), run_id_of(again)]
        assert update[1] == "[]", "no version is an earlier turn"
        assert update[2] == gr.skip(), "what is typed there stays"
    later = collect(handlers.run(KEY, place_of(older), "and then?", {}))[0]
    assert [turn["id"] for turn in json.loads(later[1])] == [run_id_of(first)]
    service.history.delete_runs(KEY, [run_id_of(first)])
    more = collect(handlers.on("regenerate")(event(key=KEY, run=run_id_of(later), stream="ensemble")))[0]
    assert header_of(more)["versions"] == [run_id_of(later), run_id_of(more)], "of another prompt than `again`"


def again_of(update: Any) -> list[str]:
    """What is said of each answer beside the one of the run before."""
    return [line["end"][1]["again"] for line in lines_of(update[0]) if isinstance(line, dict) and "end" in line]


def test_a_rerun_says_what_came_of_it_also_later(tmp_path: Path) -> None:
    ensemble = PlantedEnsemble()
    service = planted_service(tmp_path, ensemble)
    handlers = handlers_of(service)
    first = collect(handlers.run(KEY, None, "hello", {}))[-1]
    same = collect(handlers.on("rerun")(event(key=KEY, run=run_id_of(first))))[-1]
    ensemble.pieces = ["Paris", " was", *ANSWER[2:]]
    other = collect(handlers.on("rerun")(event(key=KEY, run=run_id_of(same))))[-1]
    service.close()

    service = planted_service(tmp_path)
    reopened = opened(handlers_of(service), KEY, run_id_of(other))
    service.close()

    identical = "identical to the previous run"
    differs = 'differs from the previous run at token 2: "␣was" instead of "␣is"'
    assert again_of(first) == ["", "", ""]
    assert again_of(same) == [identical] * 3
    assert sorted(again_of(other)) == sorted(again_of(reopened)) == [differs, identical, identical]


def test_nothing_of_a_run_is_read_or_written_on_the_event_loop(
    service: RunService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither while it is stored, nor of a run again, whose answers are compared with it."""
    handlers, threads = handlers_of(service), list[threading.Thread]()
    first = run_id_of(collect(handlers.run(KEY, None, "hello", {}))[0])
    service._runs.remove(service._runs.all())  # as after a restart
    for place, name in ((traces.zlib, "decompress"), (records, "token_record")):
        real = getattr(place, name)
        noted = lambda *args, real=real: threads.append(threading.current_thread()) or real(*args)  # noqa: E731
        monkeypatch.setattr(place, name, noted)
    opened(handlers, KEY, first)
    assert len(threads) == 3 * len(ANSWER) + 3, "tokens, and an outline of each answer"
    collect(handlers.on("rerun")(event(key=KEY, run=first)))
    assert threading.main_thread() not in threads


class Refusing(Spy):
    """Notes what it is asked, and refuses it."""

    config = planted_config()

    def __getattr__(self, name: str) -> Any:
        def refuse(*args: Any, **kwargs: Any) -> None:
            self.calls.append((name, *args, kwargs))
            raise RequestError("run", "is refused")

        return refuse


PASSED_ON = [("rerun", {"run": "r"}, ("rerun", KEY, "r"))]
PASSED_ON += [("extend", {"run": "r", "stream": ""}, ("extend", KEY, "r", ""))]
PASSED_ON += [("branch", {"run": "r", "position": 3, "token": 7}, ("branch", KEY, "r", 3, 7))]
PASSED_ON += [("regenerate", {"run": "r", "stream": "s"}, ("regenerate", KEY, "r", "s"))]
for sent, changed in ((None, {}), ({"seed": 3}, {"seed": 3})):
    PASSED_ON += [("revise", {"run": "r", "prompt": "p", "settings": sent}, ("revise", KEY, "r", "p", changed))]


@pytest.mark.parametrize(("handler", "data", "call"), PASSED_ON)
def test_what_a_page_asks_is_passed_on(handler: str, data: dict[str, Any], call: tuple[Any, ...]) -> None:
    for settings, changes in ((None, {}), ({"seed": 3}, {"seed": 3})):
        asked: Any = Refusing()
        collect(handlers_of(asked).run(KEY, {"conversation": "c", "after": "r"}, "p", settings))
        assert asked.calls == [("start", KEY, "p", changes, "c", {"after": "r", "client": ""})]
    service: Any = Refusing()
    [update] = collect(handlers_of(service).on(handler)(event(key=KEY, **data)))
    assert service.calls == [(*call, {"client": ""})]
    assert (notice_of(update)["field"], notice_of(update)["error"]) == ("run", "Run: is refused")
    assert [one == gr.skip() for one in update] == [True] * 3 + [False]


def test_a_run_of_another_server_is_shown_as_such(endless: RunService, tmp_path: Path) -> None:
    there = planted_service(tmp_path)
    run = endless.start(KEY, "hello", {})
    endless._store.flush()
    [update] = collect(handlers_of(there).on("open")(event(key=KEY, run=run.id)))
    assert json.loads(update[0].splitlines()[-1])["done"]["status"] == "elsewhere"
    there.close()
