"""Moves weights that a library maps from a file into the process's own memory, in large pages where available.

With pages of 4 KiB, streaming through weights spends as much time on page tables as on memory, especially in a virtual
machine or on two cores at once. Few systems keep files in large pages, but nearly every Linux provides them for other
memory on request (transparent huge pages, `madvise`). This also keeps a process alive if a mapped file is truncated.

What it gains (one thread, Qwen2.5-Coder-0.5B by onnxruntime, with and without in turn): on AVX2 5 to 8 % of a step's
time, 3 to 4 % of a pass of four steps; on AVX-512 7 to 12 % of a step's. Moving whole pages only would be simpler, and
reach a fifth of SmolLM2's weights, since onnxruntime maps each matrix by itself.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import sys
import threading
import weakref
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from gac_app.models.hardware.devices import main_memory_bytes

_SETTINGS = Path("/sys/kernel/mm/transparent_hugepage")
_MOST_SHARE = 1 / 8  # of main memory; larger files stay mapped, since processes share a mapped file but not a copy
_RUN_BYTES = 128 << 20  # copied, then moved
_FIXED_NO_REPLACE = 0x100000  # Linux constants that `mmap` does not name
_MAY_MOVE, _TO_ADDRESS = 1, 2
_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)  # by file

Part = tuple[int, int]  # of memory: start and end address


@contextmanager
def in_large_pages(file: Path, owner: object) -> Iterator[None]:
    """At the end of this context, turn all of this process's mappings of a file into its own memory: large pages where
    they are filled, small ones elsewhere. The file may change afterwards.

    Addresses and bytes stay the same, also for concurrent readers. A file that is large compared with main memory stays
    mapped, as does any file outside Linux. Only one thread at a time may be in the context for a file, since parts
    being moved must not be unmapped.

    Args:
        file: must not be written to until then.
        owner: the object that unmaps it. Gaps that share a page with mapped parts are reserved while it lives.
    """
    name = str(file.resolve())
    with _locks[name]:
        yield
        if sys.platform != "linux" or file.stat().st_size > (main_memory_bytes() or math.inf) * _MOST_SHARE:
            return
        if size := _large_page_bytes():
            pages, gaps = _filled(_by_page(_mapped(name), size), size)
            weakref.finalize(owner, _unmap, gaps).atexit = False
            _move(_joined(pages, size), size)
        _move(_mapped(name), mmap.PAGESIZE)


@cache
def _large_page_bytes() -> int:
    """Size of a large page; 0 if the system has none."""
    try:
        enabled = (_SETTINGS / "enabled").read_text(encoding="ascii")
        size = int((_SETTINGS / "hpage_pmd_size").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
    return 0 if "[never]" in enabled or sys.maxsize < 1 << 32 else size


def _mapped(name: str) -> list[Part]:
    """The parts of memory where a file is mapped, by address."""
    parts = []
    with Path("/proc/self/maps").open(encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            addresses, _, _, _, _, *path = line.rstrip("\n").split(maxsplit=5)
            if path == [name]:
                start, end = addresses.split("-")
                parts.append((int(start, 16), int(end, 16)))
    return parts


def _by_page(parts: list[Part], size: int) -> dict[int, list[Part]]:
    """The parts within each page of this size, by the page's address."""
    pages: dict[int, list[Part]] = {}
    for start, end in parts:
        for page in range(start // size * size, end, size):
            pages.setdefault(page, []).append((max(start, page), min(end, page + size)))
    return pages


def _filled(pages: dict[int, list[Part]], size: int) -> tuple[list[int], list[Part]]:
    """The pages that these parts mostly fill and whose rest was free, and that rest, now reserved."""
    filled, taken = [], []
    for page, parts in pages.items():
        if 2 * sum(end - start for start, end in parts) > size:
            edges = [page, *(edge for part in parts for edge in part), page + size]
            gaps = [(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True) if start < end]
            if _take(gaps):
                filled.append(page)
                taken += gaps
    return filled, taken


def _take(gaps: list[Part]) -> bool:
    """Reserve these parts. Returns whether all were free."""
    for index, (start, end) in enumerate(gaps):
        found = _map(start, end - start, _FIXED_NO_REPLACE)
        if found != start:
            if found is not None:  # the kernel does not know the flag
                _unmap([(found, found + end - start)])
            _unmap(gaps[:index])
            return False
    return True


def _joined(pages: list[int], size: int) -> list[Part]:
    """Consecutive pages joined: each part becomes a mapping, and Linux allows 65,530."""
    parts: list[Part] = []
    for page in pages:
        start = parts.pop()[0] if parts and parts[-1][1] == page else page
        parts.append((start, page + size))
    return parts


def _move(parts: list[Part], size: int) -> None:
    """Move parts to pages of this size. They stay where they are if there is no memory for a copy."""
    run_bytes = max(size, _RUN_BYTES)
    for start, end in parts:
        for run in range(start, end, run_bytes):
            _move_run(run, min(end - run, run_bytes), size)


def _move_run(start: int, length: int, size: int) -> None:
    room = _map(None, length + size)
    if room is None:
        return
    copy, room_end = -(-room // size) * size, room + length + size
    if size > mmap.PAGESIZE:
        _libc().madvise(copy, length, mmap.MADV_HUGEPAGE)
    ctypes.memmove(copy, start, length)
    is_moved = _libc().mremap(copy, length, length, _MAY_MOVE | _TO_ADDRESS, start) == start
    _unmap([(room, copy), (copy + length, room_end)] if is_moved else [(room, room_end)])


def _map(address: int | None, size: int, flags: int = 0) -> int | None:
    """Zeroed memory; None if there is none."""
    flags |= mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    found = _libc().mmap(address, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
    return None if found == ctypes.c_void_p(-1).value else int(found)


def _unmap(parts: list[Part]) -> None:
    for start, end in parts:
        if start < end:
            _libc().munmap(start, end - start)


@cache
def _libc() -> Any:
    libc = ctypes.CDLL(None)
    address, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    libc.mmap.argtypes, libc.mmap.restype = [address, size, number, number, number, ctypes.c_long], address
    libc.mremap.argtypes, libc.mremap.restype = [address, size, size, number, address], address
    libc.madvise.argtypes, libc.munmap.argtypes = [address, size, number], [address, size]
    return libc
