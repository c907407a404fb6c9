"""The machine and versions of a measurement."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gac_app import __version__
from gac_app.models.hardware import available_cores

_INSTRUCTION_SETS = ("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "asimddp")
_PACKAGES = ("torch", "transformers", "llama-cpp-py-sync", "onnxruntime", "gradio", "numpy")


def machine_facts() -> dict[str, Any]:
    """Cores, limits, processor, load, versions and date, as JSON values."""
    versions = {"gac": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "none"
    cpuinfo = _cpuinfo()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_model(cpuinfo),
        "instruction_sets": _instruction_sets(cpuinfo),
        "cores": os.cpu_count(),
        "usable_cores": available_cores(),  # by affinity and cgroup quota
        "cgroup_cpu": _cgroup("cpu.max"),
        "cgroup_memory": _cgroup("memory.max"),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "versions": versions,
    }


def _cpuinfo(path: Path = Path("/proc/cpuinfo")) -> str:
    """The system's facts about its processor; may be empty."""
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _cpu_model(cpuinfo: str) -> str:
    for line in cpuinfo.splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _instruction_sets(cpuinfo: str) -> list[str]:
    """The instruction sets that decide which kernels run."""
    words = set(cpuinfo.split())
    return [name for name in _INSTRUCTION_SETS if name in words]


def _cgroup(name: str) -> str | None:
    """A limit from the kernel; None if it cannot be read."""
    path = Path("/sys/fs/cgroup") / name
    return path.read_text(encoding="ascii").strip() if path.exists() else None
