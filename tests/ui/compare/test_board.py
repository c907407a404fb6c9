"""What the board's script is answered about runs that are stored."""

from __future__ import annotations

import json
import shutil
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Semaphore
from typing import Any

import pytest

from gac_app.decoding.trace.events import TokenEvent
from gac_app.errors import NotFoundError
from gac_app.services.runs.runs import RunService
from gac_app.storage import RunStatus, Store
from gac_app.storage.runs import traces
from gac_app.ui.compare import board
from gac_app.ui.compare.board import board_functions
from gac_app.ui.compare.records import PIECE, RunLines, token_record
from tests.databases import database_in
from tests.fakes import config_of
from tests.storage.samples import answer, new_run, token_event
from tests.ui.planted import KEY, OTHER_KEY
from tests.ui.spy import asking

RUN = "0" * 32
NUM_STEPS = PIECE + 476
PARTED_AT = PIECE + 7  # where a member leaves the ensemble's answer


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a long run, of which three answers are stored."""
    path = tmp_path_factory.mktemp("stored") / "gac.db"
    store = Store(database_in(path))
    store.start_run(new_run(visitor_key=KEY, run_id=RUN, settings={}, member_names=("Smol", "Gemma")))
    for system in ("ensemble", "Smol", "Gemma"):
        events = events_of(other_at=PARTED_AT if system == "Gemma" else None)
        said = "".join(event.text for event in events)
        store.save_answer(RUN, answer(said, system, events=events, num_tokens=NUM_STEPS)).result()
    store.finish_run(RUN, RunStatus.FINISHED).result()
    store.close()
    return path


@pytest.fixture
def service(stored: Path, tmp_path: Path) -> Iterator[RunService]:
    service = RunService(config_of(["Smol", "Gemma"]), Store(database_in(Path(shutil.copy(stored, tmp_path)))))
    yield service
    service.close()


def events_of(other_at: int | None = None) -> list[TokenEvent]:
    words = ("other" if position == other_at else "word" for position in range(NUM_STEPS))
    return [token_event(f"{word} {position} ", position) for position, word in enumerate(words)]


def call(service: RunService, name: str, key: str = KEY, **fields: Any) -> dict[str, Any]:
    return asking(board_functions(service, Semaphore()))(name, key, **{"run": RUN, "stream": "ensemble", **fields})


def look(service: RunService, key: str = KEY, **fields: Any) -> dict[str, Any]:
    return call(service, "inspect_step", key, **fields)


def test_a_look_at_a_token_of_a_kept_run_reads_few_others(service: RunService, monkeypatch: pytest.MonkeyPatch) -> None:
    decompress, parts = zlib.decompress, []
    monkeypatch.setattr(traces.zlib, "decompress", lambda data: parts.append(data) or decompress(data))

    seen = look(service, position=250)

    assert (seen["position"], seen["label"]) == (250, "word␣250␣")
    assert {member["name"]: len(member["top"]) for member in seen["members"]} == {"Smol": 2, "Gemma": 2}
    num_parts = 3 * NUM_STEPS / 32
    assert len(parts) <= 2 < num_parts / 20


def test_what_cannot_be_looked_at_is_refused_in_words(service: RunService) -> None:
    too_far = f"Position: expected a whole number from 0 to {NUM_STEPS - 1}"
    assert look(service, position=NUM_STEPS) == {"error": too_far}
    assert "expected one of ensemble" in look(service, position=0, stream="member:none")["error"]
    assert look(service, OTHER_KEY, position=0) == {"error": "This run is private or deleted. Its owner can share it."}
    for fields, error in (
        ({"first": -1}, "First: expected a whole number"),
        ({"first": 0, "stream": "beside"}, "Stream: expected one of"),
        ({"first": 0, "stream": ["ensemble"]}, "Stream: expected text"),
    ):
        assert error in call(service, "read_tokens", **fields)["error"]
    assert call(service, "read_tokens", first=2**52) == {"tokens": []}


def test_a_stored_run_is_shown_as_it_was(service: RunService) -> None:
    lines = RunLines(service.history.find(KEY, RUN)).value(is_last=True).splitlines()
    assert lines[2] == '[0,"word 0 ",1,0,0.75,0.375]'
    for index, stream in enumerate(("ensemble", "member:Smol")):
        tokens = [json.loads(line)[1:] for line in lines if line.startswith(f"[{index},")]
        rest = next(json.loads(line)["rest"][1] for line in lines if line.startswith(f'{{"rest":[{index},'))
        assert len(tokens) == PIECE
        tokens += call(service, "read_tokens", stream=stream, first=PIECE)["tokens"]
        assert [token[0] for token in tokens] == [event.text for event in events_of()]
        assert "".join(token[0] for token in tokens).endswith(rest)
        assert {token[1] for token in tokens} == {1 - index}, "members alone are not marked as gated"


def test_where_long_answers_part_is_told_when_asked(service: RunService) -> None:
    assert "fork" not in RunLines(service.history.find(KEY, RUN)).value(is_last=True)
    assert call(service, "find_forks") == {"forks": [[2, PARTED_AT]]}


def test_tokens_are_written_for_one_after_the_other(service: RunService, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several threads that compute would keep the interpreter's lock from the event loop for a second."""
    inside, most = set[int](), 0

    def written(*args: Any) -> list[Any]:
        nonlocal most
        inside.add(threading.get_ident())
        most = max(most, len(inside))
        time.sleep(1e-5)  # others may go on
        return token_record(*args)

    monkeypatch.setattr(board, "token_record", written)
    ask = asking(board_functions(service, Semaphore()))

    def read(stream: str) -> None:
        ask("read_tokens", run=RUN, stream=stream, first=PIECE)
        inside.discard(threading.get_ident())

    with ThreadPoolExecutor(3) as browsers:
        list(browsers.map(read, ("ensemble", "member:Smol", "member:Gemma")))
    assert most <= 2, "one that writes, and one that has just written"


def test_a_run_that_was_deleted_has_no_tokens_any_more(service: RunService) -> None:
    stream = service.history.find(KEY, RUN).streams["ensemble"]
    service.history.delete_runs(KEY, [RUN])
    with pytest.raises(NotFoundError):
        list(stream.outline)
    with pytest.raises(NotFoundError):
        list(stream.steps)
