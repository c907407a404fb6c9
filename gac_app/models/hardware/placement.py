"""Placement: a GPU for each member, the largest first; several for a member that is too large for one; else a share of
the CPU's cores.

Pure arithmetic on sizes and hardware: it needs neither GPUs nor weights. How a member's layers are divided among its
GPUs is accelerate's affair, once it is loaded.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec

from gac_app.member_config import MemberConfig
from gac_app.models.hardware.devices import GIB, Devices

CPU = "cpu"
_RAY = "Ray"
_CUDA = "cuda:"
_BESIDE_WEIGHTS = 0.15  # of their size: caches and activations
_RUNTIME_BYTES = GIB // 2  # CUDA's own, and what its allocator cannot use
_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
_QUANTIZED_BYTES = {"8bit": 1.1, "4bit": 0.6}  # embeddings and norms stay in half precision


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one member runs.

    Attributes:
        device: several GPUs share its layers.
        num_threads: on the CPU.
        size_bytes: estimated memory of weights, caches and activations; None = unknown.
    """

    device: str | tuple[str, ...]
    num_threads: int
    size_bytes: int | None

    @property
    def is_on_cpu(self) -> bool:
        return self.device == CPU

    @property
    def devices(self) -> tuple[str, ...]:
        return (self.device,) if isinstance(self.device, str) else self.device


@dataclass(frozen=True, slots=True)
class Plan:
    """Placements by member name, in the config's order, and warnings. As a string: a table for a terminal.

    Attributes:
        devices_disjoint: no two members share a device, so none slows another down.
        has_gpus: whether there are any.
    """

    placements: dict[str, Placement]
    warnings: tuple[str, ...]
    devices_disjoint: bool
    has_gpus: bool

    def __str__(self) -> str:
        rows = [("member", "runs on", "needs about", "CPU threads")]
        rows += [
            (name, ", ".join(placement.devices), _gib(placement.size_bytes), str(placement.num_threads))
            for name, placement in self.placements.items()
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join([*lines, *(f"warning: {warning}" for warning in self.warnings)])


def plan(members: Sequence[MemberConfig], devices: Devices, file_bytes: Mapping[str, int] | None = None) -> Plan:
    """Place every member. A view is where its member is.

    Args:
        file_bytes: by name, of weights on this machine, for members without `num_params`.
    """
    own = [member for member in members if not member.of]
    weights = {member.name: _weight_bytes(member, devices) or (file_bytes or {}).get(member.name) for member in own}
    sizes = {name: int(size * (1 + _BESIDE_WEIGHTS)) + _RUNTIME_BYTES for name, size in weights.items() if size}
    names = _devices_by_member(own, devices, sizes)
    num_threads = _cpu_threads([member for member in own if names[member.name] == (CPU,)], devices.num_cores)
    placements = {
        member.name: Placement(
            device if len(device := names[member.name]) > 1 else device[0],
            member.num_threads or num_threads.get(member.name, 1),
            sizes.get(member.name),
        )
        for member in own
    }
    warnings = (*_gpu_warnings(own, placements, devices), *_cpu_warnings(placements, devices), *_missing_packages(own))
    disjoint = len(own) == len(members) and _are_disjoint(placements, devices)
    with_views = {
        member.name: replace(placements[member.of], size_bytes=0) if member.of else placements[member.name]
        for member in members
    }
    return Plan(with_views, warnings, disjoint, bool(devices.gpus))


def _devices_by_member(
    members: Sequence[MemberConfig], devices: Devices, sizes: Mapping[str, int]
) -> dict[str, tuple[str, ...]]:
    """The configuration's devices for members that name some, then GPUs for the others, the largest first."""
    free = {gpu.name: gpu.memory_bytes for gpu in devices.gpus}
    num_on = Counter[str]()
    names: dict[str, tuple[str, ...]] = {}

    def order(member: MemberConfig) -> tuple[bool, int]:
        return not _configured(member, devices), -sizes.get(member.name, 0)

    for member in sorted(members, key=order):
        size = sizes.get(member.name, 0)
        names[member.name] = gpus = _configured(member, devices) or _chosen(free, num_on, size)
        here = [gpu for gpu in gpus if gpu in free]
        for gpu in here:
            free[gpu] -= size // len(here)
            num_on[gpu] += 1
    return names


def _configured(member: MemberConfig, devices: Devices) -> tuple[str, ...]:
    """The devices that the config names for this member, the address of its server, Ray, or the CPU if nothing else
    is possible; empty = to be chosen.
    """
    if member.server:
        return (member.server.url,)
    if member.ray:
        return (_RAY,)
    if member.device != "auto":
        return (member.device,) if isinstance(member.device, str) else member.device
    if member.max_memory:
        return tuple(name for name in member.max_memory if name != CPU) or (CPU,)
    needs_cpu = not devices.gpus or member.backend == "llama_cpp" or member.is_random
    return (CPU,) if needs_cpu else ()


def _chosen(free: Mapping[str, int], num_on: Mapping[str, int], size: int) -> tuple[str, ...]:
    """The GPU with fewest members of those with room, of equals the emptiest; else the fewest GPUs that have room
    together, else all.
    """
    if with_room := [gpu for gpu in free if free[gpu] >= size]:
        return (min(with_room, key=lambda gpu: (num_on[gpu], -free[gpu])),)
    emptiest = sorted(free, key=lambda gpu: -free[gpu])
    groups = (emptiest[:num] for num in range(1, len(free)))
    group = next((group for group in groups if sum(free[gpu] for gpu in group) >= size), emptiest)
    return tuple(sorted(group, key=list(free).index))


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


def _weight_bytes(member: MemberConfig, devices: Devices) -> int:
    """By the number of parameters and their precision; 0 = unknown, or on a server."""
    if not member.num_params or member.server:
        return 0
    return int(member.num_params * _bytes_per_param(member, on_gpu=_configured(member, devices) != (CPU,)))


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


def _are_disjoint(placements: Mapping[str, Placement], devices: Devices) -> bool:
    gpus = [name for placement in placements.values() for name in placement.devices if name not in (CPU, _RAY)]
    num_threads = sum(placement.num_threads for placement in placements.values() if placement.is_on_cpu)
    return len(gpus) == len(set(gpus)) and num_threads <= devices.num_cores


def _gpu_warnings(
    members: Sequence[MemberConfig], placements: Mapping[str, Placement], devices: Devices
) -> Iterator[str]:
    """What is not there, and GPUs with more members than they hold. Main memory may take what overflows."""
    free, on = {gpu.name: gpu.memory_bytes for gpu in devices.gpus}, defaultdict[str, dict[str, int]](dict)
    for member in members:
        placement = placements[member.name]
        gpus = [name for name in placement.devices if name.startswith(_CUDA)]
        if missing := [gpu for gpu in gpus if gpu not in free]:
            yield f"{member.name}: there is no {', '.join(missing)}; there are {len(free)} GPUs"
        overflows = CPU in (*placement.devices, *member.max_memory)
        for gpu in () if overflows else gpus:
            on[gpu][member.name] = (placement.size_bytes or 0) // len(gpus)
    for gpu, room in free.items():
        if (needed := sum(on[gpu].values())) > room:
            yield f"{', '.join(on[gpu])}: about {_gib(needed)} needed on {gpu}, which has {_gib(room)} free"


def _cpu_warnings(placements: Mapping[str, Placement], devices: Devices) -> Iterator[str]:
    on_cpu = {name: placement for name, placement in placements.items() if placement.is_on_cpu}
    needed = sum(placement.size_bytes or 0 for placement in on_cpu.values())
    if devices.memory_bytes is not None and needed > devices.memory_bytes:
        there = _gib(devices.memory_bytes)
        yield f"{', '.join(on_cpu)}: about {_gib(needed)} needed in main memory, which has {there}"
    num_threads = sum(placement.num_threads for placement in on_cpu.values())
    if num_threads > max(devices.num_cores, len(on_cpu)):
        yield f"{num_threads} CPU threads on {devices.num_cores} cores: threads that wait for each other slow all down"


def _missing_packages(members: Sequence[MemberConfig]) -> Iterator[str]:
    if find_spec("bitsandbytes") is None:
        for member in members:
            if member.quantization != "none" and not member.is_elsewhere:
                what = f"quantization {member.quantization} needs the package bitsandbytes"
                yield f"{member.name}: {what}, which is not installed here"


def _gib(num_bytes: int | None) -> str:
    return "?" if num_bytes is None else f"{num_bytes / GIB:.1f} GiB"
