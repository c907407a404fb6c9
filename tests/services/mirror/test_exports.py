"""What is taken away and brought along again."""

from __future__ import annotations

import json
from concurrent.futures import Future
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import Mock, patch

import pytest

from gac_app.errors import RequestError, StorageError
from gac_app.services.exports.formats import Format
from gac_app.services.mirror.exports import Exports, content_of
from gac_app.services.mirror.files import ImportResult, import_files
from gac_app.storage import RunStatus, Store
from tests.clocks import show_at_once
from tests.services.battles.test_arena import Arena
from tests.services.house import ALICE, BOB, House, answer, ended
from tests.storage.samples import new_run

HARD = 'é\u2028\u0000 "quoted" 👩‍👩‍👧 \ud83d مرحبا\r\n\ttab'


def judged_arena(house: House) -> Arena:
    """Two visitors' battles and a run with its vote, texts that are hard to move."""
    arena = Arena(house)
    for key, outcome in ((ALICE, "left"), (BOB, "tie"), (ALICE, "both-bad")):
        view = arena.answered(key=key, prompt=HARD)
        arena.service.judge.vote(key, view.id, outcome, view.version)
        arena.service.judge.remark(key, view.id, {"left": ["clear"]}, HARD)
    arena.runs.history.vote(ALICE, answer(arena.runs, prompt=HARD).id, "ensemble")
    answer(arena.runs, key=BOB)
    return arena


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The lines of a judged arena."""
    with pytest.MonkeyPatch.context() as patch:
        show_at_once(patch)
        house = House(tmp_path_factory.mktemp("exported") / "gac.db")
        lines = list(Exports(judged_arena(house).store).lines())
        house.close()
    return lines


def imported(store: Store, lines: list[str]) -> ImportResult:
    with TemporaryDirectory() as folder:
        file = Path(folder, "lines.jsonl")
        file.write_text("\n".join([*lines, ""]), errors="surrogatepass")
        return import_files(store, [file])


def test_an_import_moves_everything_and_twice_changes_nothing(house: House, other: Store) -> None:
    exported = list(Exports(judged_arena(house).store).lines())
    assert len(exported) == 2 + 3
    assert imported(other, exported) == ImportResult(5, 0, 0, 0)
    assert list(Exports(other).lines()) == exported
    assert imported(other, exported) == ImportResult(0, 5, 0, 0)
    assert list(Exports(other).lines()) == exported


def test_a_battle_s_longest_line_counts(exported: list[str], other: Store) -> None:
    """Of servers with a file each, the older one may judge last."""
    battles = [json.loads(line) for line in exported if '"judgements"' in line]
    shorter = [json.dumps({**battle, "judgements": battle["judgements"][:1]}) for battle in battles]
    assert imported(other, [*exported, *shorter]) == ImportResult(5, 0, 0, 0)
    assert list(Exports(other).lines()) == exported
    vote, _ = battles[0]["judgements"]
    verdict = {**vote, "kind": "verdict", "outcome": "restored"}
    ten = [{**vote, "id": 32 * "a"}, *({**verdict, "id": 32 * str(at), "position": at} for at in range(1, 10))]
    told = [json.dumps({**battles[0], "battle_id": "e" * 32, "judgements": ten[:num]}) for num in (10, 9)]
    assert imported(other, told) == ImportResult(1, 0, 0, 0)
    assert max(len(json.loads(line).get("judgements", "")) for line in Exports(other).lines()) == 10


def test_what_goes_on_at_an_export_comes_by_the_next(house: House, other: Store) -> None:
    arena, run = Arena(house), new_run()
    view = arena.answered()
    arena.store.start_run(run).result()
    assert imported(other, list(Exports(arena.store).lines())) == ImportResult(0, 0, 0, 0)
    arena.service.next_turn(ALICE, view.id, "And then?")
    arena.service.judge.vote(ALICE, view.id, "left", arena.until(ALICE, view.id, "answered").version)
    arena.store.finish_run(run.run_id, RunStatus.FINISHED).result()
    exported = list(Exports(arena.store).lines())
    assert imported(other, exported) == ImportResult(2, 0, 0, 0)
    assert list(Exports(other).lines()) == exported


def test_an_import_stops_where_the_database_fails(exported: list[str], other: Store) -> None:
    lost: Future[tuple[int, int]] = Future()
    lost.set_exception(StorageError("disk full"))
    refuse = Mock(side_effect=StorageError("disk full"))
    with patch.multiple(other, import_records=lambda *_: lost, check=refuse), pytest.raises(StorageError, match="full"):
        imported(other, exported)


def test_a_visitor_has_one_name_in_runs_and_battles_alike(exported: list[str], house: House) -> None:
    """Databases whose exports are brought together must not take one's visitor for another's."""
    store = judged_arena(house).store
    lines = {*exported, *Exports(store).lines()}
    assert len({json.loads(line)["visitor"] for line in lines}) == 4
    imported(store, exported)
    assert {*Exports(store).lines()} == lines


def test_a_visitor_takes_their_own_votes_the_operator_all(house: House) -> None:
    """All that nobody can judge any more."""
    arena = judged_arena(house)
    (line,) = content_of(arena.service.battles.own(BOB), Format.JSONL).decode().splitlines()
    assert [row["outcome"] for row in json.loads(line)["judgements"]] == ["tie", ""]
    with pytest.raises(RequestError):
        list(arena.service.battles.own(""))
    exports = Exports(arena.store)
    name, parts = exports.everything("jsonl")
    arena.answered()  # before its page is read
    assert name == "gac-votes-jsonl.jsonl"
    assert len(list(parts)) == 3
    for wanted in Format:
        assert exports.everything(wanted)[0].startswith(f"gac-votes-{wanted}.")
    for bad in ("", "exe", "../../etc", None):
        with pytest.raises(RequestError, match="expected one of jsonl"):
            exports.everything(bad)  # type: ignore[arg-type]


def test_runs_come_before_their_branches_and_battles(arena: Arena, other: Store) -> None:
    view = arena.answered()
    arena.service.judge.vote(ALICE, view.id, "left", view.version)
    first = answer(arena.runs)
    ended(arena.runs.branch(ALICE, first.id, 0, first.streams["ensemble"].steps[0].top[1].token_id))
    lines = list(Exports(arena.store).lines())
    assert [json.loads(line).get("parent_run_id") for line in lines] == [None, first.id, None]
    imported(other, lines[::-1])
    assert list(Exports(other).lines()) == lines
    orphan = {**json.loads(lines[1]), "run_id": "e" * 32, "parent_run_id": "f" * 32}
    assert imported(other, [json.dumps(orphan)]) == ImportResult(1, 0, 0, 0)
