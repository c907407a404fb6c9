"""Votes that visitors agree to publish are written, deletions are marked, and an empty database has both again."""

from __future__ import annotations

import io
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from gac_app.arena.rating.votes import VoteFilter
from gac_app.errors import StorageError
from gac_app.services.mirror import files
from gac_app.services.mirror import mirror as mirror_module
from gac_app.services.mirror.dataset import FILES, Dataset
from gac_app.services.mirror.exports import Exports
from gac_app.services.mirror.files import ImportResult, deletion_line, erase, import_files
from gac_app.services.mirror.mirror import Mirror
from tests.fakes import WAIT_S
from tests.services.battles.test_arena import Arena
from tests.services.house import ALICE, BOB, House, answer, until


@pytest.fixture(autouse=True)
def _erases_from_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_module, "ERASE_EVERY_S", 0.05)
    monkeypatch.setattr(mirror_module, "ERASING", 1.0)


@contextmanager
def opened(folder: Path, name: str, dataset: Dataset | None = None) -> Iterator[tuple[Arena, Mirror]]:
    """An arena over a database of that name, with a mirror in `folder`; both closed at the end."""
    house = House(folder / f"{name}.db")
    arena = mirrored(house, folder / "mirror", dataset)
    arena.runs.start_mirror()
    try:
        yield arena, mirror_of(arena)
    finally:
        house.close()


def mirrored(house: House, folder: Path, dataset: Dataset | None = None) -> Arena:
    """An arena whose mirror has not started yet."""
    return Arena(house, mirror=lambda store: Mirror(store, folder, dataset, first_delay_s=0.05))


def mirror_of(arena: Arena) -> Mirror:
    assert arena.runs.mirror
    return arena.runs.mirror


def lines(folder: Path) -> list[dict[str, Any]]:
    """All lines that are there whole: the last one may still be written, and others be erased."""
    files = sorted((folder / "mirror").glob(FILES))
    found = [line for file in files for line in file.read_text().split("\n")[:-1]]
    return [json.loads(line) for line in found if line.endswith("}")]


def settled(mirror: Mirror) -> None:
    until(lambda: mirror.is_restored and not mirror.num_waiting, "for the mirror")


def voted(arena: Arena, key: str = ALICE, **more: Any) -> str:
    view = arena.answered(key=key, **more)
    arena.service.judge.vote(key, view.id, "left", view.version)
    return view.id


def ids(folder: Path) -> list[str]:
    """What the files tell of, line by line."""
    return [str(line.get("battle_id") or line["run_id"]) for line in lines(folder) if "deleted" not in line]


def stored(arena: Arena) -> set[str]:
    return {one.battle_id for one in arena.store.battles.export()}


def test_votes_with_consent_outlive_the_database(tmp_path: Path) -> None:
    with opened(tmp_path, "one") as (arena, _):
        battle, private = voted(arena, consents=True), voted(arena)
        arena.answered(consents=True)
        arena.runs.history.vote(ALICE, answer(arena.runs).id, "tie")
        arena.service.judge.remark(ALICE, battle, {"left": ["clear"]}, "as I said")
        until(lambda: ids(tmp_path).count(battle) == 2, "for both lines")
        assert {battle} == set(ids(tmp_path))
        (whole,) = [line for line in Exports(arena.store).lines() if battle in line]
    house = House(tmp_path / "two.db")
    arena = mirrored(house, tmp_path / "mirror")
    assert arena.service.is_reading
    arena.runs.start_mirror()
    settled(mirror_of(arena))
    assert not arena.service.is_reading
    assert list(Exports(arena.store).lines()) == [whole]
    assert arena.service.standings.leaderboard(ALICE, VoteFilter(has_flagged=True)).num_votes == 1
    found, num = arena.service.battles.newest(ALICE, 9)
    assert ([one.battle_id for one in found], num) == ([battle], 1), "its visitor finds it"
    arena.service.battles.delete(ALICE, battle)
    assert stored(arena) == set()
    assert private not in str(lines(tmp_path))
    house.close()


def test_runs_that_release_1_1_published_are_not_read(tmp_path: Path) -> None:
    """`import` reads them, but for those that a line of that release names as deleted."""
    with opened(tmp_path, "one") as (arena, _):
        runs = [answer(arena.runs).id for _ in range(2)]
        text = "".join(Exports(arena.store).lines())
    file = tmp_path / "mirror" / "gac-1.jsonl"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text + json.dumps({"deleted": {"runs": runs[:1], "battles": []}}) + "\n")
    with opened(tmp_path, "two") as (arena, mirror):
        settled(mirror)
        assert list(Exports(arena.store).lines()) == []
        until(lambda: sum(map(bool, map(str.strip, file.read_text().splitlines()))) == 2, "for the whole erasure")
        assert import_files(arena.store, [file]) == ImportResult(1, 0, 0, 0)


def test_what_a_migration_deleted_is_erased(tmp_path: Path) -> None:
    """A line of release 1.1 that is no longer read has the text of a run, which its visitor may delete."""
    store = House(tmp_path / "one.db").store()
    store.bury(["a" * 32]).result()
    store.close()
    file = tmp_path / "mirror" / "gac-1.jsonl"
    file.parent.mkdir()
    file.write_text(json.dumps({"battle_id": "a" * 32, "run_id": "b" * 32, "body": "words"}) + "\n")
    with opened(tmp_path, "one") as (_, mirror):
        settled(mirror)
        until(lambda: file.read_text().isspace(), "for the erasure")


@pytest.mark.parametrize("is_killed", [False, True])
def test_what_is_deleted_is_marked_and_not_brought_back(
    tmp_path: Path, is_killed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a server that is killed before it erases the lines, or by another one that has read them."""
    with opened(tmp_path, "one") as (arena, mirror), monkeypatch.context() as killed:
        killed.setattr(mirror, "_erase", lambda _: mirror._erased_next.clear())
        battle, kept = voted(arena, consents=True), voted(arena, key=BOB, consents=True)
        settled(mirror)
        if is_killed:
            arena.runs.history.delete_all(ALICE)
            assert "deleted" in lines(tmp_path)[-1], "it is marked before the deletion is acknowledged"
    if not is_killed:
        with opened(tmp_path, "another") as (arena, mirror):
            settled(mirror)
            arena.runs.history.delete_all(ALICE)
    with opened(tmp_path, "two") as (arena, mirror):
        settled(mirror)
        until(lambda: ids(tmp_path) == [kept], "for the erasure")
        assert stored(arena) == {kept}
        assert battle in arena.store.deleted_ids()


def test_what_another_server_deletes_is_erased(tmp_path: Path) -> None:
    with opened(tmp_path, "one") as (arena, mirror):
        battle = voted(arena, consents=True)
        settled(mirror)
        assert ids(tmp_path) == [battle]
        other = House(tmp_path / "one.db").store()
        other.delete_visitor(ALICE).result()
        other.close()
        voted(arena, key=BOB)
        until(lambda: not ids(tmp_path), "for its erasure")


def test_lines_cut_off_and_strange_ones_are_passed_over(tmp_path: Path) -> None:
    with opened(tmp_path, "one") as (arena, mirror):
        first, last = voted(arena, consents=True), voted(arena, consents=True)
        settled(mirror)
    (file,) = (tmp_path / "mirror").iterdir()
    whole = file.read_bytes().splitlines()
    strange = b'\xff\xfe\n[]\n{"deleted": 3}\n{"deleted": ["x"]}\n{"run_id": "x"}\n\n'
    file.write_bytes(strange + whole[0] + b"\n" + whole[1][: len(whole[1]) // 2])
    with opened(tmp_path, "two") as (arena, mirror):
        settled(mirror)
        assert stored(arena) == {first}
        assert first != last


def test_what_is_deleted_is_erased_from_lines_cut_off_too(tmp_path: Path) -> None:
    with opened(tmp_path, "one") as (arena, mirror):
        deleted, kept = voted(arena, consents=True), voted(arena, consents=True)
        settled(mirror)
        (file,) = (tmp_path / "mirror").iterdir()
        whole = file.read_bytes().splitlines()[0]
        torn = file.with_name("gac-0.jsonl")
        torn.write_bytes(b'{"run_id": []}\n' + whole[:-9] + b"\n" + whole[:-5])
        arena.service.battles.delete(ALICE, deleted)
        until(lambda: torn.read_bytes().split() == [b'{"run_id":', b"[]}"], "for the erasure")
        assert mirror.num_errors == 0
        torn.write_bytes(whole[:-9])  # of a process that was killed
    with opened(tmp_path, "two") as (arena, mirror):
        settled(mirror)
        until(lambda: torn.read_bytes().isspace(), "for the erasure")
        assert stored(arena) == {kept}


def test_an_erasure_that_is_cut_off_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, open_it = tmp_path / "gac-1.jsonl", Path.open
    line, other = (json.dumps({"run_id": key * 32, "prompt": "words " * 50}) + "\n" for key in "ab")
    num_left = 0

    class Cut(io.FileIO):
        def write(self, data: Any) -> int:
            nonlocal num_left
            done = super().write(data[:num_left])
            num_left -= done
            if not num_left:
                raise OSError("killed")
            return done

    def open_cut(file: Path, mode: str = "r", **more: Any) -> Any:
        return Cut(file, "r+") if mode == "r+b" else open_it(file, mode, **more)

    for cut in range(1, 2 * len(line), 17):
        path.write_text(line + other)
        num_left = cut
        with monkeypatch.context() as killed, suppress(OSError):
            killed.setattr(Path, "open", open_cut)
            erase([path], {"a" * 32})
        erase([path], {"a" * 32})
        assert "words" not in path.read_text().removesuffix("\n" + other), cut


def test_many_deletions_cost_few_readings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    erased = list[set[str]]()
    monkeypatch.setattr(mirror_module, "erase", lambda paths, keys: erased.append(set(keys)))
    with opened(tmp_path, "one") as (_, mirror):
        settled(mirror)
        until(lambda: mirror._erases_from > 0.0, "for the first look")
        monkeypatch.setattr(mirror_module, "ERASE_EVERY_S", 3600.0)
        mirror._erases_from += 3600.0
        for number in range(30):
            mirror.deleted([f"{number:032x}"])
            until(lambda: not mirror._deletions, "for its mark")
    assert [len(one) for one in erased] == [30], "when the process ends"


class Away:
    """Plants a folder that is away until it is there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_away, prepare = False, Mirror._prepare

        def prepared(mirror: Mirror) -> None:
            if self.is_away:
                raise OSError(28, "No space left on device", str(mirror._folder))
            prepare(mirror)

        monkeypatch.setattr(Mirror, "_prepare", prepared)


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Away:
    return Away(monkeypatch)


def test_what_waited_at_a_kill_is_written_by_the_next_process(tmp_path: Path, away: Away) -> None:
    """A mirror whose disk is full loses what waits just as one that is killed does."""
    with opened(tmp_path, "one") as (arena, mirror):
        early, deleted = voted(arena, consents=True), voted(arena, consents=True)
        settled(mirror)
        arena.service.battles.delete(ALICE, deleted)
    away.is_away = True
    with opened(tmp_path, "one") as (arena, mirror):
        late = voted(arena, consents=True)
        voted(arena)
    assert ids(tmp_path) == [early]
    away.is_away = False
    for _ in range(2):
        with opened(tmp_path, "one") as (arena, mirror):
            settled(mirror)
            assert ids(tmp_path) == [early, late]


def stays_deleted(folder: Path, house: Callable[[], House], away: Away) -> None:
    """A battle that was deleted while the mirror's folder was away; another one was kept."""
    first = house()
    arena = mirrored(first, folder / "mirror")
    arena.runs.start_mirror()
    battle, kept = (voted(arena, consents=True) for _ in range(2))
    settled(mirror_of(arena))
    away.is_away = True
    with pytest.raises(StorageError, match="Deleted here"):
        arena.service.battles.delete(ALICE, battle)
    first.close()
    away.is_away = False
    for _ in range(2):
        restarted = house()
        arena = mirrored(restarted, folder / "mirror")
        arena.runs.start_mirror()
        settled(mirror_of(arena))
        assert stored(arena) == {kept}
        restarted.close()
    assert [line["deleted"] for line in lines(folder) if "deleted" in line] == [[battle]], "for other databases, once"


def test_what_was_deleted_without_its_mark_stays_deleted(tmp_path: Path, away: Away) -> None:
    stays_deleted(tmp_path, lambda: House(tmp_path / "one.db"), away)


def test_a_mirror_that_fails_delays_and_loses_nothing(
    tmp_path: Path, away: Away, caplog: pytest.LogCaptureFixture
) -> None:
    away.is_away = True
    with opened(tmp_path, "one") as (arena, mirror):
        battles = [voted(arena, consents=True) for _ in range(3)]
        until(lambda: mirror.num_errors > 3, "for other tries")
        assert mirror.is_failing
        assert [one.message[:25] for one in caplog.records if one.levelname == "ERROR"] == ["the mirror cannot be used"]
        assert str(tmp_path) not in caplog.text, "the log names no folders"
        with pytest.raises(StorageError, match="Deleted here"):
            arena.service.battles.delete(ALICE, battles[0])
        away.is_away = False
        settled(mirror)
        assert set(ids(tmp_path)) == set(battles[1:])
        assert [line["deleted"] for line in lines(tmp_path) if "deleted" in line] == [[battles[0]]]
        until(lambda: not mirror.is_failing, "for a success")


def test_a_line_that_was_cut_off_does_not_spoil_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path, "one") as (arena, mirror):
        settled(mirror)
        faults = [OSError(5, "Input/output error")]

        def fsync(_: int) -> None:
            if faults:
                raise faults.pop()

        monkeypatch.setattr("gac_app.services.mirror.mirror.os.fsync", fsync)
        voted(arena, consents=True)
        settled(mirror)
        assert not faults, "each line is synced to the disk"
    (file,) = (tmp_path / "mirror").iterdir()
    with file.open("rb") as content:
        assert all(line == b"\n" or json.loads(line) for line in content)


def test_what_is_deleted_while_files_are_read_stays_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path, "one") as (arena, mirror):
        battles = [voted(arena, consents=True) for _ in range(2)]
        settled(mirror)
    import_indexed, is_open = mirror_module.import_indexed, threading.Event()

    def import_late(*args: Any, **kwargs: Any) -> ImportResult:
        assert is_open.wait(WAIT_S)
        arena.service.battles.delete(ALICE, battles[0])  # of which the index that was made before does not know
        return import_indexed(*args, **kwargs)

    monkeypatch.setattr(mirror_module, "import_indexed", import_late)
    with opened(tmp_path, "one") as (arena, mirror):
        with pytest.raises(StorageError, match="again in a few minutes"):
            arena.runs.history.delete_all(BOB)  # of whom the files may have something
        late = voted(arena, consents=True)
        is_open.set()
        settled(mirror)
        arena.runs.history.delete_all(BOB)
        assert stored(arena) == {battles[1], late}


def test_files_read_in_part_bring_nothing_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later line may say that something is deleted."""
    with opened(tmp_path, "one") as (arena, mirror):
        for _ in range(2):
            voted(arena, consents=True)
        settled(mirror)
    is_open = threading.Event()

    def index_late(*args: Any) -> files.Index:
        assert is_open.wait(WAIT_S)
        until(lambda: mirror._worker.is_closed, "for the end")
        return files.index_of(*args)

    monkeypatch.setattr(files, "_AT_ONCE", 2)
    monkeypatch.setattr(mirror_module, "index_of", index_late)
    with opened(tmp_path, "two") as (arena, mirror):
        is_open.set()
    store = House(tmp_path / "two.db").store()
    assert list(store.battles.export()) == []
    store.close()


class Hub:
    """A Hub of one dataset, in a folder; `is_down` plants a network without it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.is_down = folder, False

    def text(self) -> str:
        return "".join(file.read_text() for file in self.folder.iterdir())

    def create_repo(self, repo_id: str, **kind: Any) -> Any:
        self._answer()
        assert kind["repo_type"] == "dataset"
        assert kind["private"] is True
        self.folder.mkdir(exist_ok=True)
        return type("Url", (), {"repo_id": repo_id})

    def dataset_info(self, repo_id: str) -> Any:
        self._answer()
        return type("Info", (), {"sha": f"of {repo_id}"})

    def snapshot_download(self, repo_id: str, *, cache_dir: Path, **kind: Any) -> str:
        known = {"repo_type": "dataset", "revision": "of org/votes", "allow_patterns": FILES}
        assert (repo_id, kind) == ("org/votes", known), "an older copy may be taken where no revision is named"
        return shutil.copytree(self.folder, cache_dir / "snapshot", dirs_exist_ok=True)

    def create_commit(self, *, operations: list[Any], **_: Any) -> str:
        self._answer()
        for operation in operations:
            (self.folder / operation.path_in_repo).write_bytes(operation.path_or_fileobj.read())
        return "commit"

    def run_as_future(self, function: Any) -> Any:
        from huggingface_hub import HfApi

        return HfApi().run_as_future(function)

    def _answer(self) -> None:
        if self.is_down:
            raise OSError("the Hub cannot be reached")


def test_a_dataset_gets_votes_and_gives_them_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    hub = Hub(tmp_path / "hub")
    hub.is_down = True

    def dataset(every_minutes: float) -> Dataset:
        return Dataset("org/votes", tmp_path / "mirror", every_minutes, hub)  # type: ignore[arg-type]

    with opened(tmp_path, "one", dataset(1000.0)) as (arena, mirror):
        kept, deleted = voted(arena, consents=True), voted(arena, consents=True)
        until(lambda: mirror.num_errors > 1, "for another try")
        assert caplog.text.count("cannot be reached") == 1
        until(lambda: ids(tmp_path) == [kept, deleted], "for the file: no Hub holds it up")
        hub.is_down = False
        settled(mirror)
    assert kept in hub.text(), "at the latest when the process ends"
    shutil.rmtree(tmp_path / "mirror")
    with opened(tmp_path, "two", dataset(1000.0)) as (arena, mirror):
        settled(mirror)
        assert stored(arena) == {kept, deleted}
        arena.service.battles.delete(ALICE, deleted)
        assert [path.name for path in tmp_path.glob("mirror*")] == ["mirror"], "deletions would miss a copy"
    assert deletion_line([deleted]) in hub.text()
    with opened(tmp_path, "three", dataset(1000.0)) as (arena, mirror):
        settled(mirror)
        assert stored(arena) == {kept}


def test_a_deletion_tells_that_the_hub_took_no_commit(tmp_path: Path) -> None:
    hub = Hub(tmp_path / "hub")
    dataset = Dataset("org/votes", tmp_path / "mirror", 0.001, hub)  # type: ignore[arg-type]
    with opened(tmp_path, "one", dataset) as (arena, mirror):
        settled(mirror)
        hub.is_down = True
        battle = voted(arena, consents=True)
        until(lambda: dataset.has_failed, "for a commit")
        with pytest.raises(StorageError, match="could not be marked yet"):
            arena.service.battles.delete(ALICE, battle)
        hub.is_down = False
        until(lambda: not dataset.has_failed, "for the next")
    assert '"deleted"' in hub.text()
