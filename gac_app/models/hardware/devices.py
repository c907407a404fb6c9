"""The hardware that this machine has, or that an operator assumes: GPUs with their memory, cores, main memory."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from gac_app.errors import ConfigError

GIB = 1 << 30
MAX_GPUS = 256
_GROUP = re.compile(r"(?:(?P<count>\d{1,3})x)?(?P<size>\d+(?:\.\d+)?)(?P<unit>GiB|GB|MiB|MB)", re.IGNORECASE)
_UNITS = {"gib": GIB, "gb": 10**9, "mib": 1 << 20, "mb": 10**6}


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU: its torch name and its free memory."""

    name: str
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Devices:
    """The hardware for placing members."""

    gpus: tuple[Gpu, ...]
    num_cores: int
    memory_bytes: int | None  # None = unknown


def detect_devices() -> Devices:
    """This machine's devices. Imports torch to ask for GPUs."""
    import torch

    gpus = tuple(Gpu(f"cuda:{index}", _free_bytes(index)) for index in range(torch.cuda.device_count()))
    return Devices(gpus, available_cores(), main_memory_bytes())


def _free_bytes(index: int) -> int:
    """What other programs leave of a GPU."""
    from torch import cuda

    try:
        return int(cuda.mem_get_info(index)[0])
    except RuntimeError:  # one that is lent later (ZeroGPU) tells its size alone
        return int(cuda.get_device_properties(index).total_memory)


def parse_devices(text: str) -> Devices:
    """This machine with other GPUs.

    Example: "8x80GiB" is eight GPUs of 80 GiB, "2x24GiB,1x80GiB" three.

    Raises:
        ConfigError: `text` has another form.
    """
    sizes: list[int] = []
    for group in text.split(","):
        match = _GROUP.fullmatch(group.strip())
        if match is None:
            raise ConfigError(f"devices: {group.strip()!r} is not of the form 8x80GiB or 2x24GiB,1x80GiB")
        size = int(float(match["size"]) * _UNITS[match["unit"].lower()])
        sizes += [size] * int(match["count"] or 1)
    if not 0 < len(sizes) <= MAX_GPUS or min(sizes) == 0:
        raise ConfigError(f"devices: expected 1 to {MAX_GPUS} GPUs with some memory each")
    gpus = tuple(Gpu(f"cuda:{index}", size) for index, size in enumerate(sizes))
    return Devices(gpus, available_cores(), main_memory_bytes())


def available_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores that this process may use, by its affinity and its container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cpu_quota(cgroup)
    return cores if quota is None else max(1, min(cores, int(quota)))


def _cpu_quota(cgroup: Path) -> float | None:
    """CPU time per second that the container may use, from either version of cgroups; None = unlimited."""
    try:
        if (cgroup / "cpu.max").exists():
            quota, period = (cgroup / "cpu.max").read_text().split()
        else:
            quota, period = ((cgroup / "cpu" / f"cpu.cfs_{kind}_us").read_text() for kind in ("quota", "period"))
        return None if quota == "max" or int(quota) <= 0 else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def main_memory_bytes(cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Memory that this process may use: the machine's, or its container's limit. None = unknown."""
    if not hasattr(os, "sysconf"):
        return None
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _memory_limit(cgroup)
    return machine if limit is None else min(machine, limit)


def _memory_limit(cgroup: Path) -> int | None:
    """The container's limit, from either version of cgroups; None = unlimited."""
    for path in (cgroup / "memory.max", cgroup / "memory" / "memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # "max" is no number
            return int(path.read_text())
    return None
