"""Weights in large pages: the same bytes at the same addresses, and nothing of others'."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from gac_app.models.hardware import large_pages
from gac_app.models.hardware.large_pages import _large_page_bytes, _map, _mapped, _unmap, in_large_pages

_SIZE, _GAP = 2 << 20, 64 << 10
_FIXED = 0x10

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is described as Linux describes it")


class Owner:
    pass


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights of a model.bin"
    path.write_bytes(np.random.default_rng(0).bytes(6 * _SIZE + 5000))
    return path


@pytest.fixture(autouse=True)
def enabled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a machine has no large pages the moving is the same."""
    if not _large_page_bytes():
        monkeypatch.setattr(large_pages, "_large_page_bytes", lambda: _SIZE)


def _bytes(start: int, end: int) -> bytes:
    return ctypes.string_at(start, end - start)


@pytest.fixture
def page(file: Path) -> Iterator[int]:
    """A large page's address, at which the file's beginning is mapped, with a gap in its middle."""
    room = _map(None, 2 * _SIZE)
    assert room is not None
    page = -(-room // _SIZE) * _SIZE
    _unmap([(room, page), (page + _SIZE, room + 2 * _SIZE)])
    with file.open("rb") as opened:
        how = mmap.PROT_READ, mmap.MAP_PRIVATE | _FIXED, opened.fileno(), 0
        assert large_pages._libc().mmap(page, _SIZE, *how) == page
    _unmap([(page + _SIZE // 2, page + _SIZE // 2 + _GAP)])
    yield page
    _unmap([(page, page + _SIZE)])


def _lines_of_maps(start: int) -> list[str]:
    lines = Path("/proc/self/smaps").read_text(errors="replace").splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(f"{start:x}-"))
    return lines[first : first + 25]


def test_mapped_weights_stay_and_are_not_the_files_any_more(file: Path) -> None:
    owner = Owner()
    with in_large_pages(file, owner):
        mapped = np.memmap(file, np.uint8, mode="r")
    address = mapped.ctypes.data
    assert mapped.tobytes() == file.read_bytes()
    assert not _mapped(str(file))
    expected = file.read_bytes()
    os.truncate(file, 0)
    assert mapped.tobytes() == expected, "whatever becomes of the file"
    first_page = -(-address // _SIZE) * _SIZE
    in_large = [line for line in _lines_of_maps(*_starts(first_page)) if "AnonHugePages" in line]
    if _large_page_bytes():
        assert int(in_large[0].split()[1]) >= 4 * _SIZE >> 10


def _starts(address: int) -> list[int]:
    """Where the memory that holds an address begins."""
    spans = (line.split()[0].split("-") for line in Path("/proc/self/maps").read_text(errors="replace").splitlines())
    return [int(start, 16) for start, end in spans if int(start, 16) <= address < int(end, 16)]


def test_parts_with_gaps_are_one_page_until_their_owner_is_gone(file: Path, page: int) -> None:
    place, owner = page + _SIZE // 2, Owner()
    with in_large_pages(file, owner):
        pass
    assert not _mapped(str(file))
    assert _bytes(page, place) == file.read_bytes()[: _SIZE // 2]
    assert _bytes(place + _GAP, page + _SIZE) == file.read_bytes()[_SIZE // 2 + _GAP : _SIZE]
    assert _starts(place)
    del owner
    assert not _starts(place)


def test_a_page_shared_with_others_is_moved_in_small_ones(file: Path, page: int) -> None:
    place, owner = page + _SIZE // 2, Owner()
    assert _map(place + 4096, 4096, _FIXED) == place + 4096
    ctypes.memset(place + 4096, 7, 4096)
    with in_large_pages(file, owner):
        pass
    assert not _mapped(str(file))
    assert _bytes(page, place) == file.read_bytes()[: _SIZE // 2]
    assert _bytes(place + 4096, place + 8192) == b"\7" * 4096
    assert not _starts(place)  # what was free is free


def test_who_reads_meanwhile_always_finds_the_same(file: Path) -> None:
    mapped, expected = np.memmap(file, np.uint8, mode="r"), file.read_bytes()
    done = threading.Event()

    def read() -> list[bool]:
        return [mapped.tobytes() == expected for _ in iter(done.is_set, True)]

    with ThreadPoolExecutor(1) as reader:
        reading = reader.submit(read)
        try:
            for _ in range(3):
                with in_large_pages(file, mapped):
                    mapped_again = np.memmap(file, np.uint8, mode="r")
                assert mapped_again.tobytes() == expected
        finally:
            done.set()
    assert reading.result()
    assert all(reading.result())


def test_where_there_is_no_room_all_stays(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_pages, "main_memory_bytes", lambda: 8 * file.stat().st_size - 8)
    with in_large_pages(file, Owner()):
        mapped = np.memmap(file, np.uint8, mode="r")
    assert sum(end - start for start, end in _mapped(str(file))) >= file.stat().st_size
    assert mapped.tobytes() == file.read_bytes()


def test_without_large_pages_small_ones_are_used(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "enabled").write_text("always madvise [never]\n")
    (tmp_path / "hpage_pmd_size").write_text(f"{_SIZE}\n")
    monkeypatch.setattr(large_pages, "_SETTINGS", tmp_path)
    monkeypatch.setattr(large_pages, "_large_page_bytes", _large_page_bytes.__wrapped__)
    monkeypatch.setattr(large_pages, "_RUN_BYTES", 3 * _SIZE)
    with in_large_pages(file, Owner()):
        mapped = np.memmap(file, np.uint8, mode="r")
    assert not _mapped(str(file))
    assert mapped.tobytes() == file.read_bytes()
