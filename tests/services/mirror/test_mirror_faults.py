"""A mirror that cannot be written, is killed, or is read while things are deleted."""

from __future__ import annotations

import io
import json
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gac_app.errors import StorageError
from gac_app.services.mirror import files, places
from gac_app.services.mirror import mirror as mirror_module
from gac_app.services.mirror.exports import Exports
from gac_app.services.mirror.files import ImportResult, erase
from gac_app.services.mirror.places import FILES, DatasetPlace, Place
from gac_app.storage import DeletedIds, NewJudgement, Store
from tests.fakes import WAIT_S
from tests.services.house import ALICE, BOB, House, answer, until
from tests.services.mirror.test_mirror import consenting_run, ids, lines, mirror_of, mirrored, opened, settled, voted


def test_lines_cut_off_and_strange_ones_are_passed_over(tmp_path: Path) -> None:
    with opened(tmp_path, "one") as (arena, mirror):
        first, last = voted(arena, consents=True), voted(arena, consents=True)
        settled(mirror)
    (file,) = (tmp_path / "mirror").iterdir()
    whole = file.read_bytes()
    half = whole.splitlines()[1]
    strange = b'\xff\xfe\n[]\n{"deleted": 3}\n{"run_id": "x"}\n\n'
    file.write_bytes(strange + whole.splitlines()[0] + b"\n" + half[: len(half) // 2])
    with opened(tmp_path, "two") as (arena, mirror):
        settled(mirror)
        assert [one.battle_id for one in arena.store.battles.export()] == [first]
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
        settled(mirror)
        assert (torn.read_bytes().split(), mirror.num_errors) == ([b'{"run_id":', b"[]}"], 0)
        torn.write_bytes(whole[:-9])  # of a process that was killed
    with opened(tmp_path, "two") as (arena, mirror):
        settled(mirror)
        assert torn.read_bytes().isspace()
        assert [one.battle_id for one in arena.store.battles.export()] == [kept]


def test_what_is_deleted_amid_an_erasure_is_erased_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    erasing, may_go_on = threading.Event(), threading.Event()

    def erase_late(*given: Any) -> bool:
        erasing.set()
        assert may_go_on.wait(WAIT_S)
        return erase(*given)

    monkeypatch.setattr(mirror_module, "erase", erase_late)
    with opened(tmp_path, "one") as (arena, mirror):
        first, later = voted(arena, consents=True), voted(arena, consents=True)
        settled(mirror)
        arena.service.battles.delete(ALICE, first)
        assert erasing.wait(WAIT_S)
        arena.service.battles.delete(ALICE, later)
        may_go_on.set()
    assert ids(tmp_path) == []


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


def test_many_deletions_cost_a_reading_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path, "one") as (arena, mirror):
        ids = {voted(arena, consents=True), *(f"{number:032x}" for number in range(29))}
        settled(mirror)
        erased = list[set[str]]()
        monkeypatch.setattr(mirror_module, "erase", lambda paths, keys: erased.append(keys) or erase(paths, keys))
        begun = time.monotonic()
        for one in ids:
            mirror.deleted(DeletedIds((), (one,)))
            until(lambda: not mirror._deletions, "for its mark")
        settled(mirror)
        seconds = time.monotonic() - begun
    assert set.union(*erased) == ids
    assert len(erased) <= 2 + seconds
    (file,) = (tmp_path / "mirror").iterdir()
    assert file.read_bytes().split()[:1] == [b'{"deleted":']


class Full(Place):
    """A folder on a disk that is full until it is freed."""

    is_full = True

    def prepare(self) -> None:
        if self.is_full:
            raise OSError(28, "No space left on device", str(self.folder))
        super().prepare()


def test_what_waited_at_a_kill_is_copied_by_the_next_process(tmp_path: Path) -> None:
    """A mirror whose disk is full loses what waits just as one that is killed does."""
    with opened(tmp_path, "one") as (arena, mirror):
        early, late = consenting_run(arena), consenting_run(arena)
        copied, deleted = voted(arena, consents=True), voted(arena, consents=True)
        arena.runs.history.vote(ALICE, late, "tie")
        settled(mirror)
        arena.service.battles.delete(ALICE, deleted)
    with opened(tmp_path, "one", Full(tmp_path / "mirror")) as (arena, mirror):
        run, battle = consenting_run(arena), voted(arena, consents=True)
        arena.runs.set_consent(ALICE, False)
        answer(arena.runs)
        voted(arena)
        arena.runs.history.vote(ALICE, late, "ensemble")
        remark = NewJudgement(position=1, kind="remark", body={"reasons": {}, "comment": "as I said"})
        arena.store.battles.judge(ALICE, copied, remark).result()
    before = ids(tmp_path)
    assert {early, late, copied} <= set(before)
    for _ in range(2):
        with opened(tmp_path, "one") as (arena, mirror):
            settled(mirror)
    new = ids(tmp_path)[len(before) :]
    assert {one for one in new if one in (early, late, copied, deleted, run, battle)} == {late, copied, run, battle}
    assert len(new) == len(set(new)), "each once, by the first that could"
    newest = {line.get("battle_id") or line["run_id"]: line for line in lines(tmp_path) if "deleted" not in line}
    assert newest[late]["vote"]["outcome"] == "ensemble"
    assert newest[copied]["judgements"][-1]["body"]["comment"] == "as I said"


def test_what_is_deleted_while_files_are_read_stays_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path, "one") as (arena, mirror):
        battles = [voted(arena, consents=True) for _ in range(2)]
        settled(mirror)
    import_indexed = mirror_module.import_indexed

    is_open = threading.Event()

    def import_late(*args: Any, **kwargs: Any) -> ImportResult:
        assert is_open.wait(WAIT_S)
        arena.service.battles.delete(ALICE, battles[0])  # of which the index that was made before does not know
        return import_indexed(*args, **kwargs)

    monkeypatch.setattr(mirror_module, "import_indexed", import_late)
    with opened(tmp_path, "one") as (arena, mirror):
        with pytest.raises(StorageError, match="again in a few minutes"):
            arena.runs.history.delete_all(BOB)  # of whom the files may have something
        copied = voted(arena, consents=True)
        until(lambda: copied in ids(tmp_path), "for a copy: no slow Hub holds it up", WAIT_S / 2)
        is_open.set()
        settled(mirror)
        arena.runs.history.delete_all(BOB)
        assert {one.battle_id for one in arena.store.battles.export()} == {battles[1], copied}


def test_files_read_in_part_bring_nothing_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later line may say that something is deleted."""
    with opened(tmp_path, "one") as (arena, mirror):
        for _ in range(2):
            voted(arena, consents=True)
        settled(mirror)
    is_open = threading.Event()

    def index_late(*args: Any) -> files.Index:
        assert is_open.wait(WAIT_S)
        until(lambda: mirror._reader.is_closed, "for the end")
        return files.index_of(*args)

    monkeypatch.setattr(files, "_AT_ONCE", 2)
    monkeypatch.setattr(mirror_module, "index_of", index_late)
    with opened(tmp_path, "two") as (_, mirror):
        is_open.set()
    store = Store(f"sqlite:///{tmp_path / 'two.db'}", server="")
    assert list(store.battles.export()) == []
    store.close()


def stays_deleted(folder: Path, house: Callable[[], House]) -> None:
    """Two runs and a battle that were deleted while the mirror's folder was away; another battle was kept."""
    first, place = house(), Full(folder / "mirror")
    arena = mirrored(first, place)
    arena.runs.read_mirror()
    place.is_full = False
    runs = [consenting_run(arena) for _ in range(2)]
    battle, kept = (voted(arena, consents=True) for _ in range(2))
    settled(mirror_of(arena))
    place.is_full = True
    history = arena.runs.history
    for delete in (lambda: history.delete_runs(ALICE, runs), lambda: arena.service.battles.delete(ALICE, battle)):
        with pytest.raises(StorageError, match="Deleted here"):
            delete()
    first.close()
    assert {*runs, battle, kept} == set(ids(folder))
    for _ in range(2):
        restarted = house()
        arena = mirrored(restarted, Place(folder / "mirror"))
        arena.runs.read_mirror()
        settled(mirror_of(arena))
        stored = list(map(json.loads, Exports(arena.store).lines()))
        assert [line.get("battle_id") or line["run_id"] for line in stored] == [kept]
        restarted.close()
    (mark,) = [line["deleted"] for line in lines(folder) if "deleted" in line]
    assert (set(mark["runs"]), mark["battles"]) == (set(runs), [battle]), "other databases are told too, once"


def test_what_was_deleted_without_its_mark_stays_deleted(tmp_path: Path) -> None:
    stays_deleted(tmp_path, lambda: House(tmp_path / "one.db"))


def test_a_mirror_that_fails_delays_and_loses_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = Full(tmp_path / "mirror")
    with opened(tmp_path, "one", place) as (arena, mirror):
        battles = [voted(arena, consents=True) for _ in range(3)]
        until(lambda: mirror.num_errors > 3, "for other tries to write and to read")
        assert sorted(record.message[:25] for record in caplog.records if record.levelname == "ERROR") == [
            "the mirror cannot be read",
            "the mirror cannot be writ",
        ]
        assert str(tmp_path) not in caplog.text, "the log names no folders"
        with pytest.raises(StorageError, match="Deleted here"):
            arena.service.battles.delete(ALICE, battles[0])
        place.is_full = False
        settled(mirror)
        told = lines(tmp_path)
        assert {line["battle_id"] for line in told if "battle_id" in line} == set(battles[1:])
        assert [line["deleted"]["battles"] for line in told if "deleted" in line] == [[battles[0]]]


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


def test_what_is_deleted_while_its_line_is_made_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, is_told = Exports.lines_of, threading.Event()

    def lines_of(exports: Exports, key: str) -> list[tuple[str, str]]:
        if (found := made(exports, key)) and is_told.wait(WAIT_S):
            arena.store.delete_battle(ALICE, key).result()
            mirror.settle_deletions()
        return found

    monkeypatch.setattr(Exports, "lines_of", lines_of)
    with opened(tmp_path, "one") as (arena, mirror):
        voted(arena, consents=True)
        is_told.set()
        settled(mirror)
    assert [list(line) for line in lines(tmp_path)] == [["deleted"]]


class Hub:
    """A Hub of one dataset, in a folder; `is_down` plants a network without it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.is_down, self.num_pushes = folder, False, 0

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

        self.num_pushes += 1
        return HfApi().run_as_future(function)

    def _answer(self) -> None:
        if self.is_down:
            raise OSError("the Hub cannot be reached")


def test_a_dataset_gets_what_is_copied_and_gives_it_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "PUSH_EVERY_S", 0.2)
    hub = Hub(tmp_path / "hub")
    hub.is_down = True

    def place(name: str) -> DatasetPlace:
        return DatasetPlace("org/votes", tmp_path / name / "copy", 1000.0, hub)  # type: ignore[arg-type]

    with opened(tmp_path, "one", place("first")) as (arena, mirror):
        battle, deleted = voted(arena, consents=True), voted(arena, consents=True)
        until(lambda: mirror.num_errors > 1, "for another try")
        assert caplog.text.count("cannot be reached") == 1
        with pytest.raises(StorageError, match="cannot be read now"):
            arena.runs.history.delete_all(BOB)
        arena.service.battles.delete(ALICE, deleted)
        until(lambda: not mirror.num_waiting, "for its erasure")
        hub.is_down = False
        settled(mirror)
        deleted = voted(arena, consents=True)
        settled(mirror)
        erase = mirror._erase
        with monkeypatch.context() as slowly:
            slowly.setattr(mirror, "_erase", lambda: (until(lambda: '"deleted"' in hub.text()), erase()))
            arena.service.battles.delete(ALICE, deleted)
            settled(mirror)
        until(lambda: "deleted" in (told := hub.text()) and told.count(deleted) == 1, "for the mark's commit")
        hub.is_down = True
        arena.service.battles.delete(ALICE, battle)
    shutil.rmtree(tmp_path / "first")  # with the mark that the Hub did not take
    hub.is_down = False
    for name in ("one", "two"):
        with opened(tmp_path, name, place(f"of {name}")) as (arena, mirror):
            settled(mirror)
            assert list(arena.store.battles.export()) == []
            assert [path.name for path in (tmp_path / f"of {name}").iterdir()] == ["copy"], "deletions miss others"


def test_a_commit_that_fails_goes_with_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "PUSH_EVERY_S", 0.2)
    hub = Hub(tmp_path / "hub")
    place = DatasetPlace("org/votes", tmp_path / "copy", 1000.0, hub)  # type: ignore[arg-type]
    with opened(tmp_path, "one", place) as (arena, mirror):
        settled(mirror)
        hub.is_down = True
        voted(arena, consents=True)
        settled(mirror)
        for _ in range(99):
            place.push()
        until(lambda: mirror.num_errors > 1, "for a commit at once, and one for all the other pushes")
        assert hub.num_pushes < 50
        assert caplog.text.count("takes no commit") == 1
        with pytest.raises(StorageError, match="could not be marked yet"):
            arena.runs.history.delete_all(BOB)
        threading.Timer(0.5, setattr, (hub, "is_down", False)).start()
    assert len(list(hub.folder.iterdir())) == 1, "at the latest when the process ends, though one try fails"
    assert '"deleted"' not in hub.text(), "of BOB there was nothing"


def test_what_another_server_deletes_is_erased(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_module, "ASK_EVERY_S", 0.1)
    with opened(tmp_path, "one") as (arena, mirror), opened(tmp_path, "one", Place(tmp_path / "own")) as (other, _):
        battle = voted(arena, consents=True)
        settled(mirror)
        assert ids(tmp_path) == [battle]
        other.runs.history.delete_all(ALICE)
        until(lambda: not ids(tmp_path), "for its erasure")
