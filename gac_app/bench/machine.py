"""The machine and versions of a measurement."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gac_app.bootstrap import versions_of
from gac_app.models.hardware import available_cores

_INSTRUCTION_SETS = ("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "asimddp")
_PACKAGES = ("torch", "transformers", "llama-cpp-py-sync", "onnxruntime", "gradio", "numpy")


def machine_facts() -> dict[str, Any]:
    """Cores, limits, processor, load, versions and date, as JSON values."""
    versions = {"python": platform.python_version(), **dict.fromkeys(_PACKAGES, "none"), **versions_of(_PACKAGES)}
    cpuinfo = _read("/proc/cpuinfo")
    models = [line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name")]
    words = set(cpuinfo.split())
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "instruction_sets": [name for name in _INSTRUCTION_SETS if name in words],  # they decide which kernels run
        "cores": os.cpu_count(),
        "usable_cores": available_cores(),  # by affinity and cgroup quota
        "cgroup_cpu": _read("/sys/fs/cgroup/cpu.max") or None,
        "cgroup_memory": _read("/sys/fs/cgroup/memory.max") or None,
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "versions": versions,
    }


def _read(path: str) -> str:
    """What the kernel tells; empty if it does not."""
    return Path(path).read_text("utf-8", "replace").strip() if Path(path).exists() else ""
