"""What is taken away and brought along again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gac_app.arena.formats import Format
from gac_app.errors import NotFoundError, RequestError
from gac_app.services.exports import Exports, Imported
from gac_app.storage import Store
from tests.services.house import ALICE, BOB, House, answer
from tests.services.test_arena import Arena

HARD = 'é\u2028\u0000 "quoted" 👩‍👩‍👧 \ud83d مرحبا\r\n\ttab'


@pytest.fixture(autouse=True)
def _names_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A vote stands as soon as it is given."""
    monkeypatch.setattr("gac_app.services.exports.UNDO_S", 0.0)


def test_an_own_file_tells_no_name_before_the_reveal(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gac_app.services.exports.UNDO_S", 10.0)
    arena = Arena(house)
    exports = Exports(arena.store)
    view = arena.answered()
    for _ in range(2):
        assert [exports.own(ALICE, wanted)[1] for wanted in ("jsonl", "arena-rank")] == [b"", b""]
        arena.service.vote(ALICE, view.id, "left", view.ballot) if not arena.store.votes() else None
    arena.service.reveal(ALICE, view.id)
    monkeypatch.setattr("gac_app.services.exports.UNDO_S", 0.0)
    assert len(exports.own(ALICE, "arena-rank")[1].splitlines()) == 1


def judged_arena(house: House) -> Arena:
    """Two visitors' battles and a run with its vote, texts that are hard to move."""
    arena = Arena(house)
    for key, outcome in ((ALICE, "left"), (BOB, "tie"), (ALICE, "both-bad")):
        view = arena.answered(key=key, prompt=HARD)
        voted = arena.service.vote(key, view.id, outcome, view.ballot)
        arena.service.remark(key, view.id, {"left": ["clear"]}, HARD, voted.ballot)
    run = answer(arena.runs, prompt=HARD)
    arena.runs.vote(ALICE, run.id, "ensemble")
    answer(arena.runs, key=BOB)
    return arena


def test_an_import_moves_everything_and_twice_changes_nothing(house: House, tmp_path: Path) -> None:
    exported = list(Exports(judged_arena(house).store).lines())
    assert len(exported) == 2 + 3 + 2
    other = Store(f"sqlite:///{tmp_path / 'other.db'}")
    assert Exports(other).bring(exported) == Imported(7, 0)
    assert list(Exports(other).lines()) == exported
    assert Exports(other).bring(exported) == Imported(0, 7)
    assert list(Exports(other).lines()) == exported
    other.close()


def test_a_visitor_takes_their_own_votes_alone(house: House) -> None:
    arena = judged_arena(house)
    exports = Exports(arena.store)
    name, content = exports.own(BOB, "jsonl")
    (line,) = content.decode().splitlines()
    assert name == "gac-votes-jsonl.jsonl"
    assert [row["outcome"] for row in json.loads(line)["judgements"]] == ["tie", ""]
    assert len(exports.own(ALICE, "csv")[1].decode().splitlines()) > 4
    for wanted in Format:
        assert exports.own(BOB, wanted)[0].startswith(f"gac-votes-{wanted}.")
    for bad in ("", "exe", "../../etc", None):
        with pytest.raises(RequestError, match="expected one of jsonl"):
            exports.own(ALICE, bad)  # type: ignore[arg-type]
    with pytest.raises(RequestError):
        exports.own("", "jsonl")


def test_everything_is_the_operator_s_alone(house: House) -> None:
    store = judged_arena(house).store
    for exports, token in ((Exports(store), ""), (Exports(store), "x"), (Exports(store, "secret"), "secre")):
        with pytest.raises(NotFoundError):
            exports.everything(token, "jsonl")
    _, content = Exports(store, "secret").everything("secret", "jsonl")
    assert len(content.decode().splitlines()) == 5


@pytest.mark.parametrize(
    "line",
    [
        *("no json", "[]", "3", "{}", '{"battle_id": "x"}', '{"run_id": "x"}', '{"run_id": "x", "answers": 3}'),
        '{"battle_id": "x", "origin": "people", "judgements": [{"kind": "vote", "outcome": "mine"}]}',
        '{"battle_id": "x", "origin": "people", "judgements": []}',
    ],
)
def test_a_line_that_is_none_is_named(house: House, line: str) -> None:
    store = house.store()
    with pytest.raises(RequestError, match="line 2"):
        Exports(store).bring(["", line])
    store.close()
