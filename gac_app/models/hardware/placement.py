"""Placement: members on GPUs, the largest first, several GPUs for a member that needs them, else a share of the CPU's
cores.

Pure arithmetic on needs and hardware: it needs neither GPUs nor weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec

from gac_app.member_config import MemberConfig
from gac_app.models.hardware.allocations import RAY, Allocations, listed
from gac_app.models.hardware.devices import GIB, Devices
from gac_app.models.hardware.needs import CPU, ByDevice, Need, gib

# What is estimated from a number of parameters: caches beside the weights, activations, and CUDA's own memory.
CACHE_PART = 0.15
RUNTIME_BYTES = GIB // 2
_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
_QUANTIZED_BYTES = {"8bit": 1.1, "4bit": 0.6}  # embeddings and norms stay in half precision


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one member runs.

    Attributes:
        device: several GPUs share its layers.
        num_threads: on the CPU.
        size_bytes: needed with all its sequences; None = unknown.
        limits, taken: bytes that it may use of its GPUs, and is expected to use; empty = it needs none, or does not
            fit.
        refusal: why it cannot be loaded; "" = as far as is known, it can.
    """

    device: str | tuple[str, ...]
    num_threads: int
    size_bytes: int | None
    limits: ByDevice = field(default_factory=dict)
    taken: ByDevice = field(default_factory=dict)
    refusal: str = ""

    @property
    def is_on_cpu(self) -> bool:
        return self.device == CPU


@dataclass(frozen=True, slots=True)
class Plan:
    """Placements by member name, in the config's order, and warnings. As a string: tables for a terminal.

    Attributes:
        devices_disjoint: no two members share a device, so none slows another down.
        gpus: free bytes of each GPU before anything is loaded.
    """

    placements: dict[str, Placement]
    warnings: tuple[str, ...]
    devices_disjoint: bool
    gpus: ByDevice

    @property
    def refusals(self) -> list[str]:
        """Why members cannot be loaded."""
        return [placement.refusal for placement in self.placements.values() if placement.refusal]

    def __str__(self) -> str:
        rows = [("member", "runs on", "needs about", "CPU threads")]
        rows += [
            (name, ", ".join(listed(placement.device)), gib(placement.size_bytes), str(placement.num_threads))
            for name, placement in self.placements.items()
        ]
        taken = [(name, place.taken) for name, place in self.placements.items() if place.taken and place.size_bytes]
        gpus = [("GPU", "free", "of it for")] * bool(taken)
        for gpu, free in self.gpus.items():
            if parts := [f"{name} {gib(held[gpu])}" for name, held in taken if gpu in held]:
                gpus.append((gpu, gib(free), ", ".join(parts)))
        warned = [f"warning: {warning}" for warning in self.warnings]
        return "\n".join([*_table(rows), *_table(gpus), *warned])


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def plan(members: Sequence[MemberConfig], devices: Devices, needs: Mapping[str, Need] | None = None) -> Plan:
    """Place every member. A view is where its member is.

    If not all fit with their `max_sequences`, each gets room for one sequence as long as its context, and what is left
    is for whoever comes first. One that does not even fit so is refused.

    Args:
        needs: by name, where a member's files are here; others are estimated from `num_params`.
    """
    own = [member for member in members if not member.of]
    if len(own) < len(members):
        placed = plan(own, devices, needs)
        at = {member.name: placed.placements[member.of or member.name] for member in members}
        for view in (member.name for member in members if member.of):
            at[view] = replace(at[view], size_bytes=0, limits={}, taken={})
        return replace(placed, placements=at, devices_disjoint=False)
    known = {member.name: (needs or {}).get(member.name) or _estimated(member) for member in own}
    allocations = Allocations(own, devices, known, is_whole=True)
    if allocations.refusals:
        allocations = Allocations(own, devices, known, is_whole=False)
    num_threads = _cpu_threads(
        [member for member in own if allocations.names[member.name] == (CPU,)], devices.num_cores
    )
    placements = {
        member.name: _placement(member, allocations, known[member.name], num_threads.get(member.name, 1))
        for member in own
    }
    warnings = (*allocations.warnings(), *_cpu_warnings(placements, devices), *_missing_packages(own))
    gpus = {gpu.name: gpu.memory_bytes for gpu in devices.gpus}
    return Plan(placements, warnings, _devices_disjoint(placements, devices), gpus)


def _placement(member: MemberConfig, allocations: Allocations, need: Need | None, num_threads: int) -> Placement:
    name, names = member.name, allocations.names[member.name]
    size_bytes = need.most if need else None
    if names == (CPU,) and member.num_params:
        size_bytes = int(member.num_params * _bytes_per_param(member, on_gpu=False) * (1 + CACHE_PART)) + RUNTIME_BYTES
    taken = allocations.taken.get(name, {})
    if taken and member.gpu_share:
        size_bytes = sum(taken.values())
    device = names[0] if len(names) == 1 else names
    refusal, limits = allocations.refusals.get(name, ""), allocations.limits_of(name)
    return Placement(device, member.num_threads or num_threads, size_bytes, limits, taken, refusal)


def _cpu_threads(members: Sequence[MemberConfig], num_cores: int) -> dict[str, int]:
    """Threads by member name, chosen so that the slowest forward pass is as fast as possible.

    The number of parameters stands for the cost of a pass: each core goes to the member with most parameters per
    thread.
    """
    threads = {member.name: member.num_threads or 1 for member in members}
    is_known = all(member.num_params for member in members)  # else all cost the same
    costs = {m.name: m.num_params or 1.0 if is_known else 1.0 for m in members if m.num_threads is None}
    for _ in range(num_cores - sum(threads.values()) if costs else 0):
        threads[max(costs, key=lambda name: costs[name] / threads[name])] += 1
    return threads


def _estimated(member: MemberConfig) -> Need | None:
    """On GPUs, from the number of parameters."""
    if member.num_params is None or member.server:
        return None

    def need_of(num_params: float, bytes_per_param: float) -> Need:
        weights = int(num_params * bytes_per_param)
        cache = int(weights * CACHE_PART / member.max_sequences)
        return Need(weights, cache, member.max_sequences, workspace=RUNTIME_BYTES)

    found = {name: need_of(member.num_params, size).least for name, size in _QUANTIZED_BYTES.items()}
    instead = {f"quantization: {name}": least for name, least in found.items()}
    return replace(need_of(member.num_params, _bytes_per_param(member, on_gpu=True)), instead=instead)


def _bytes_per_param(member: MemberConfig, *, on_gpu: bool) -> float:
    if member.quantization != "none":
        return _QUANTIZED_BYTES[member.quantization]
    if member.dtype != "auto":
        return _BYTES[member.dtype]
    if not on_gpu and member.backend != "transformers" and _is_gguf(member):
        return 1.0  # llama.cpp keeps the file's quantised weights
    return 2.0 if on_gpu else 4.0


def _is_gguf(member: MemberConfig) -> bool:
    return any(len(parts) > 1 or parts[0].endswith(".gguf") for parts in member.mirrors)


def _devices_disjoint(placements: dict[str, Placement], devices: Devices) -> bool:
    gpus = [name for placement in placements.values() for name in listed(placement.device) if name not in (CPU, RAY)]
    num_threads = sum(placement.num_threads for placement in placements.values() if placement.is_on_cpu)
    return len(gpus) == len(set(gpus)) and num_threads <= devices.num_cores


def _cpu_warnings(placements: dict[str, Placement], devices: Devices) -> list[str]:
    on_cpu = {name: placement for name, placement in placements.items() if placement.is_on_cpu}
    need = sum(placement.size_bytes or 0 for placement in on_cpu.values())
    warnings = []
    if devices.memory_bytes is not None and need > devices.memory_bytes:
        there = gib(devices.memory_bytes)
        warnings.append(f"{', '.join(on_cpu)}: about {gib(need)} needed in main memory, which has {there}")
    num_threads = sum(placement.num_threads for placement in on_cpu.values())
    if num_threads > max(devices.num_cores, len(on_cpu)):
        warnings.append(
            f"{num_threads} CPU threads on {devices.num_cores} cores: threads that wait for each other slow all down"
        )
    return warnings


def _missing_packages(members: Sequence[MemberConfig]) -> Iterator[str]:
    if find_spec("bitsandbytes") is None:
        for member in members:
            if member.quantization != "none" and not member.is_elsewhere:
                what = f"quantization {member.quantization} needs the package bitsandbytes"
                yield f"{member.name}: {what}, which is not installed here"
