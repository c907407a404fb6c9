"""Placement: one member per GPU in turn, several GPUs for a member that needs them, else a share of the CPU's cores.

Pure arithmetic on configuration and hardware: it needs neither GPUs nor weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gac_app.member_config import MemberConfig
from gac_app.models.hardware.devices import GIB, Devices

CPU = "cpu"
RAY = "Ray"
# Beside the weights: KV caches, activations, and CUDA's own memory.
CACHE_MARGIN = 1.15
RUNTIME_BYTES = GIB // 2
_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
_QUANTIZED_BYTES = {"8bit": 1.1, "4bit": 0.6}  # embeddings and norms stay in half precision


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one member runs."""

    device: str | tuple[str, ...]  # several GPUs share its layers
    num_threads: int  # on the CPU
    size_bytes: int | None  # estimated; None if the config does not give its parameters

    @property
    def is_on_cpu(self) -> bool:
        return self.device == CPU


@dataclass(frozen=True, slots=True)
class Plan:
    """Placements by member name, in the config's order, and warnings. As a string: a table for a terminal.

    Attributes:
        are_apart: no two members share a device, so none slows another down.
    """

    placements: dict[str, Placement]
    warnings: tuple[str, ...]
    are_apart: bool

    def __str__(self) -> str:
        rows = [("member", "runs on", "needs about", "CPU threads")]
        rows += [
            (name, ", ".join(_listed(placement.device)), _gib(placement.size_bytes), str(placement.num_threads))
            for name, placement in self.placements.items()
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, *(f"warning: {warning}" for warning in self.warnings)])


def plan(members: Sequence[MemberConfig], devices: Devices) -> Plan:
    """Place every member. One that does not fit is placed with a warning. A view is where its member is."""
    own = [member for member in members if not member.of]
    if len(own) < len(members):
        placed = plan(own, devices)
        of_views = {m.name: replace(placed.placements[m.of], size_bytes=0) for m in members if m.of}
        found = placed.placements | of_views
        return Plan({member.name: found[member.name] for member in members}, placed.warnings, are_apart=False)
    gpus = _GpuMemory(devices)
    chosen: dict[str, tuple[str, ...]] = {}
    warnings: list[str] = []
    # Members with devices in the config come first; the others share the rest.
    for member in sorted(members, key=lambda member: not _own_devices(member, devices)):
        size_bytes = _size_bytes(member, on_gpu=True) or 0
        chosen[member.name] = _own_devices(member, devices) or gpus.choose(size_bytes)
        if not member.is_elsewhere:
            warnings += gpus.take(member.name, chosen[member.name], size_bytes)
    num_threads = _cpu_threads([member for member in members if chosen[member.name] == (CPU,)], devices.num_cores)
    placements = {
        member.name: _placement(member, chosen[member.name], num_threads.get(member.name, 1)) for member in members
    }
    return Plan(placements, (*warnings, *_cpu_warnings(placements, devices)), _are_apart(placements, devices))


def _placement(member: MemberConfig, names: tuple[str, ...], num_threads: int) -> Placement:
    size_bytes = _size_bytes(member, on_gpu=names != (CPU,))
    return Placement(names[0] if len(names) == 1 else names, member.num_threads or num_threads, size_bytes)


def _cpu_threads(members: Sequence[MemberConfig], num_cores: int) -> dict[str, int]:
    """Threads by member name, chosen so that the slowest forward pass is as fast as possible.

    The number of parameters stands for the cost of a pass: each core goes to the member with most parameters per
    thread.
    """
    threads = {member.name: member.num_threads or 1 for member in members}
    costs = _costs(members)
    open_names = [member.name for member in members if member.num_threads is None]
    for _ in range(num_cores - sum(threads.values()) if open_names else 0):
        threads[max(open_names, key=lambda name: costs[name] / threads[name])] += 1
    return threads


def _costs(members: Sequence[MemberConfig]) -> dict[str, float]:
    """Relative cost of each member's forward pass on one core; equal if a member's parameters are unknown."""
    params = {member.name: member.num_params for member in members}
    return {name: num if num and all(params.values()) else 1.0 for name, num in params.items()}


def _own_devices(member: MemberConfig, devices: Devices) -> tuple[str, ...]:
    """The devices that the config names for this member, the address of its server, Ray, or the CPU if nothing else
    is possible; empty = to be chosen.
    """
    if member.server:
        return (member.server.url,)
    if member.ray:
        return (RAY,)
    if member.device != "auto":
        return _listed(member.device)
    if member.max_memory:
        return tuple(name for name in member.max_memory if name != CPU) or (CPU,)
    needs_cpu = not devices.gpus or member.backend == "llama_cpp" or member.is_random
    return (CPU,) if needs_cpu else ()


def _size_bytes(member: MemberConfig, on_gpu: bool) -> int | None:
    if member.num_params is None or member.server:
        return None
    if member.quantization != "none":
        per_param = _QUANTIZED_BYTES[member.quantization]
    elif member.dtype != "auto":
        per_param = _BYTES[member.dtype]
    elif not on_gpu and member.backend != "transformers" and _is_gguf(member):
        per_param = 1.0  # llama.cpp keeps the file's quantised weights
    else:
        per_param = 2.0 if on_gpu else 4.0
    return int(member.num_params * per_param * CACHE_MARGIN) + RUNTIME_BYTES


def _is_gguf(member: MemberConfig) -> bool:
    return any(len(parts) > 1 or parts[0].endswith(".gguf") for parts in member.mirrors)


class _GpuMemory:
    """Free memory of each GPU, and whose turn it is."""

    def __init__(self, devices: Devices) -> None:
        self._left = {gpu.name: gpu.memory_bytes for gpu in devices.gpus}
        self._names = list(self._left)
        self._turn = 0
        self._seen = "assumed" if devices.is_assumed else "here"

    def choose(self, size_bytes: int) -> tuple[str, ...]:
        """The next GPU in turn with room; else as many as needed, the emptiest first; else all."""
        in_turn = self._names[self._turn :] + self._names[: self._turn]
        for name in in_turn:
            if size_bytes <= self._left[name]:
                return (name,)
        chosen: list[str] = []
        for name in sorted(in_turn, key=lambda name: -self._left[name]):
            chosen.append(name)
            if sum(self._left[name] for name in chosen) >= size_bytes:
                break
        return tuple(sorted(chosen, key=self._names.index))

    def take(self, member: str, devices: tuple[str, ...], size_bytes: int) -> list[str]:
        """Book a member's memory and pass the turn on. Returns warnings if GPUs are missing or too small."""
        gpus = [name for name in devices if name != CPU]
        missing = [name for name in gpus if name not in self._left]
        if missing:
            return [f"{member}: {', '.join(missing)} not {self._seen}; there are {len(self._left)} GPUs"]
        available = sum(self._left[name] for name in gpus)
        is_short = bool(gpus) and CPU not in devices and size_bytes > available
        # accelerate spreads the layers evenly, limited by each GPU's memory.
        for num_done, name in enumerate(sorted(gpus, key=self._left.__getitem__)):
            taken = min(self._left[name], size_bytes // (len(gpus) - num_done))
            self._left[name] -= taken
            size_bytes -= taken
            self._turn = (self._names.index(gpus[-1]) + 1) % len(self._names)
        if not is_short:
            return []
        need = _gib(available + size_bytes)
        return [f"{member} needs about {need} and finds {_gib(available)} free on {', '.join(gpus)}"]


def _are_apart(placements: dict[str, Placement], devices: Devices) -> bool:
    gpus = [name for placement in placements.values() for name in _listed(placement.device) if name not in (CPU, RAY)]
    num_threads = sum(placement.num_threads for placement in placements.values() if placement.is_on_cpu)
    return len(gpus) == len(set(gpus)) and num_threads <= devices.num_cores


def _cpu_warnings(placements: dict[str, Placement], devices: Devices) -> list[str]:
    on_cpu = {name: placement for name, placement in placements.items() if placement.is_on_cpu}
    need = sum(placement.size_bytes or 0 for placement in on_cpu.values())
    warnings = []
    if devices.memory_bytes is not None and need > devices.memory_bytes:
        there = _gib(devices.memory_bytes)
        warnings.append(f"{', '.join(on_cpu)}: about {_gib(need)} needed in main memory, which has {there}")
    num_threads = sum(placement.num_threads for placement in on_cpu.values())
    if num_threads > max(devices.num_cores, len(on_cpu)):
        warnings.append(
            f"{num_threads} CPU threads on {devices.num_cores} cores: threads that wait for each other slow all down"
        )
    return warnings


def _listed(device: str | tuple[str, ...]) -> tuple[str, ...]:
    return (device,) if isinstance(device, str) else device


def _gib(num_bytes: int | None) -> str:
    return "?" if num_bytes is None else f"{num_bytes / GIB:.1f} GiB"
