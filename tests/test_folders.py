"""A loss of power leaves what was told as saved."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from gac_app.evaluation.running.result_cache import replace_file
from gac_app.models.sources.resolve import fetch_joined
from tests.services.mirror.test_mirror import opened, settled, voted


class Disk:
    """What a loss of power leaves at worst: of each file what was synced, under the names that its folder had then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._contents, self._names = dict[int, bytes](), dict[Path, dict[str, int]]()
        self._fsync, self._replace = os.fsync, os.replace
        monkeypatch.setattr(os, "fsync", self.sync)
        monkeypatch.setattr(os, "replace", self.rename)

    def sync(self, opened: int) -> None:
        self._fsync(opened)
        path = Path(f"/proc/self/fd/{opened}").resolve()
        if path.is_dir():
            self._names[path] = {file.name: file.stat().st_ino for file in path.iterdir()}
        else:
            self._contents[path.stat().st_ino] = path.read_bytes()

    def rename(self, file: Path, target: Path) -> None:
        assert file.stat().st_ino in self._contents, "the new name may come before what is not synced"
        self._replace(file, target)

    def has(self, path: Path) -> bytes | None:
        return self._contents.get(self._names.get(path.parent, {}).get(path.name, 0))


def mirror(folder: Path) -> Path:
    with opened(folder, "one") as (arena, mirror):
        for _ in range(2):
            voted(arena, consents=True)
            settled(mirror)
        (file,) = (folder / "mirror").iterdir()
    return file


def fetched(folder: Path) -> Path:
    parts = [folder / "1", folder / "2"]
    for part in parts:
        part.write_bytes(b"a part")
    fetch_joined((str(parts[0]), str(parts[1])), folder / "m.gguf", lambda _: None)
    return folder / "m.gguf"


def result(folder: Path) -> Path:
    replace_file(folder / "result.json", "before")
    replace_file(folder / "result.json", "after")
    return folder / "result.json"


def test_a_folder_that_cannot_be_synced_keeps_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one that FUSE mounts."""
    disk, num_open = Disk(monkeypatch), psutil.Process().num_fds()

    def refuse(opened: int) -> None:
        if Path(f"/proc/self/fd/{opened}").resolve().is_dir():
            raise OSError(errno.EINVAL, "Invalid argument")
        disk.sync(opened)

    monkeypatch.setattr(os, "fsync", refuse)
    assert result(tmp_path).read_text() == "after"
    assert psutil.Process().num_fds() == num_open


@pytest.mark.parametrize("save", [mirror, fetched, result])
def test_what_was_saved_outlives_a_loss_of_power(
    save: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    path = save(tmp_path)
    assert disk.has(path) == path.read_bytes() != b""
