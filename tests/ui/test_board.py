"""What the board's script is answered about runs that are stored."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gac_app.services.runs import RunService
from gac_app.storage import Store, traces
from gac_app.ui.board import board_functions
from gac_app.ui.records import RunLines
from tests.databases import database_in
from tests.fakes import config_of
from tests.storage.samples import answer, new_run, token_event

KEY, OTHER_KEY, RUN = "a" * 64, "b" * 64, "0" * 32
NUM_STEPS = 480


@pytest.fixture
def service(tmp_path: Path) -> Iterator[RunService]:
    """With a long run, of which three answers are stored."""
    store = Store(database_in(tmp_path / "gac.db"))
    store.start_run(new_run(visitor_key=KEY, run_id=RUN, settings={}, member_names=("Smol", "Gemma")))
    events = [token_event(f"word {position} ", position) for position in range(NUM_STEPS)]
    for system in ("ensemble", "Smol", "Gemma"):
        store.save_answer(RUN, answer("".join(event.text for event in events), system, events=events)).result()
    service = RunService(config_of(["Smol", "Gemma"]), store)
    yield service
    service.close()


def look(service: RunService, key: str = KEY, **fields: Any) -> dict[str, Any]:
    functions = {function.__name__: function for function in board_functions(service)}
    return functions["inspect_step"]({"key": key, "run": RUN, "stream": "ensemble", **fields})


def test_a_look_at_a_token_of_a_stored_run_reads_few_others(
    service: RunService, monkeypatch: pytest.MonkeyPatch
) -> None:
    decompress, parts = zlib.decompress, []
    monkeypatch.setattr(traces.zlib, "decompress", lambda data: parts.append(data) or decompress(data))

    seen = look(service, position=250)

    assert (seen["position"], seen["label"]) == (250, "word␣250␣")
    assert {member["name"]: len(member["top"]) for member in seen["members"]} == {"Smol": 2, "Gemma": 2}
    num_parts = 3 * NUM_STEPS / 32
    assert len(parts) <= 2 < num_parts / 20


def test_what_cannot_be_looked_at_is_refused_in_words(service: RunService) -> None:
    assert look(service, position=NUM_STEPS) == {
        "error": f"position: expected a whole number from 0 to {NUM_STEPS - 1}"
    }
    assert "expected one of ensemble" in look(service, position=0, stream="member:none")["error"]
    assert look(service, OTHER_KEY, position=0) == {"error": "there is no such run"}


def test_a_stored_run_is_shown_as_it_was(service: RunService) -> None:
    lines = RunLines(service.history.find(KEY, RUN)).value(is_last=True).splitlines()
    assert len([line for line in lines if line.startswith("[")]) == 3 * NUM_STEPS
    assert lines[2] == '[0,"word 0 ",1,0,0.75,0.375]'
