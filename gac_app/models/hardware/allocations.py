"""Who is on which GPUs: the members that name devices first, then the largest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from gac_app.member_config import MemberConfig
from gac_app.models.hardware.devices import Devices
from gac_app.models.hardware.needs import CPU, ByDevice, Need, gib

RAY = "Ray"
CUDA = "cuda:"


class Allocations:
    """Divides GPUs among members.

    Args:
        is_whole: with room for all sequences of every member, or for one.

    Attributes:
        names: devices by member.
        taken: by member that runs on GPUs, the bytes that it is expected to use of each device.
        refusals: by member, why it does not fit.
    """

    def __init__(
        self, members: Sequence[MemberConfig], devices: Devices, needs: Mapping[str, Need | None], *, is_whole: bool
    ) -> None:
        self._left = {gpu.name: gpu.memory_bytes for gpu in devices.gpus}
        self._total = {gpu.name: gpu.total_bytes or gpu.memory_bytes for gpu in devices.gpus}
        self._num_on = dict.fromkeys(self._left, 0)
        self._main_bytes = devices.memory_bytes or 0
        self._where = "assumed" if devices.is_assumed else "here"
        self._needs = {name: need or Need() for name, need in needs.items()}
        for member in members:
            if member.gpu_share:  # vLLM lets those sequences wait for which it has no room
                self._needs[member.name] = replace(self._needs[member.name], num_sequences=1)
        self._is_whole = is_whole
        self.names: dict[str, tuple[str, ...]] = {}
        self.refusals: dict[str, str] = {}
        self.taken: dict[str, ByDevice] = {}
        self._given: dict[str, ByDevice] = {}

        def order(member: MemberConfig) -> tuple[bool, int, int]:
            need = self._needs[member.name]
            return not _own_devices(member, devices), -need.least, -need.most

        for member in sorted(members, key=order):  # devices that the config names are no others' to choose
            self._place(member, _own_devices(member, devices))

    def _place(self, member: MemberConfig, own: tuple[str, ...]) -> None:
        name, need = member.name, self._needs[member.name]
        self.names[name] = own
        if member.is_elsewhere or (own and not any(device.startswith(CUDA) for device in own)):
            return
        if missing := [gpu for gpu in own if gpu != CPU and gpu not in self._left]:
            gpus = f"{', '.join(missing)} not {self._where}; there are {len(self._left)} GPUs"
            self.refusals[name] = f"{name}: {gpus}"
            return
        num_sequences = need.num_sequences if self._is_whole else 1
        tries = [self._limits(member, gpus) for gpus in ([own] if own else self._choices())]
        with_room = [limits for limits in tries if not self._without_room(limits, member)]
        fitting = ((limits, need.divide(limits, num_sequences)) for limits in with_room)
        limits, found = next(((limits, found) for limits, found in fitting if found), ((with_room or tries)[-1], None))
        self.names[name] = tuple(gpu for gpu in limits if gpu != CPU)
        if found is None:
            self.refusals[name] = need.refusal(name, limits) if with_room else self._without_room(limits, member)
            return
        self._given[name], self.taken[name] = limits, limits if member.gpu_share else found[1]
        for gpu in self.names[name]:
            self._left[gpu] -= self.taken[name].get(gpu, 0)
            self._num_on[gpu] += 1

    def _choices(self) -> Iterator[tuple[str, ...]]:
        """Single GPUs, the ones with fewest members first, of these the emptiest; then groups of the emptiest."""
        names = list(self._left)
        yield from ((gpu,) for gpu in sorted(names, key=lambda gpu: (self._num_on[gpu], -self._left[gpu])))
        emptiest = sorted(names, key=lambda gpu: -self._left[gpu])
        for num in range(2, len(names) + 1):
            yield tuple(sorted(emptiest[:num], key=names.index))

    def _limits(self, member: MemberConfig, gpus: tuple[str, ...]) -> dict[str, int]:
        own = member.max_memory
        if share := member.gpu_share:
            return {gpu: int(share * self._total[gpu]) for gpu in gpus}
        limits = {gpu: min(self._left[gpu], own.get(gpu, self._left[gpu])) for gpu in gpus if gpu != CPU}
        return {**limits, CPU: own.get(CPU, self._main_bytes)} if CPU in (*gpus, *own) else limits

    def _without_room(self, limits: Mapping[str, int], member: MemberConfig) -> str:
        """Why vLLM's share is not free; "" = it is."""
        full = [gpu for gpu in limits if member.gpu_share and limits[gpu] > self._left[gpu]]
        there = ", ".join(f"{gpu} has {gib(self._left[gpu])} of {gib(self._total[gpu])}" for gpu in full)
        what = f"{member.name}: vLLM takes {member.gpu_share:g} of each GPU, and {there} free"
        return f"{what}; use a smaller vllm: {{gpu_memory_utilization: ...}}" if full else ""

    def limits_of(self, name: str) -> ByDevice:
        """What the others leave of its devices; empty for a member without GPUs."""
        limits, taken = self._given.get(name, {}), self.taken.get(name, {})
        left = {gpu: self._left[gpu] + taken.get(gpu, 0) for gpu in limits if gpu != CPU}
        return {gpu: min(room, left.get(gpu, room)) for gpu, room in limits.items()}

    def warnings(self) -> Iterator[str]:
        """Who has room for fewer sequences than it may hold."""
        if self._is_whole:
            return
        for name in self.taken:
            need, gpus = self._needs[name], self.names[name]
            wanted, left = (need.num_sequences - 1) * need.cache, sum(self._left[gpu] for gpu in gpus)
            if wanted > left:
                room = f"caches of {need.num_sequences} sequences need up to {gib(wanted + need.cache)}"
                yield f"{name}: {room}, and {gib(left + need.cache)} is left on {', '.join(gpus)}"


def _own_devices(member: MemberConfig, devices: Devices) -> tuple[str, ...]:
    """The devices that the config names for this member, the address of its server, Ray, or the CPU if nothing else
    is possible; empty = to be chosen.
    """
    if member.server:
        return (member.server.url,)
    if member.ray:
        return (RAY,)
    if member.device != "auto":
        return listed(member.device)
    if member.max_memory:
        return tuple(name for name in member.max_memory if name != CPU) or (CPU,)
    needs_cpu = not devices.gpus or member.backend == "llama_cpp" or member.is_random
    return (CPU,) if needs_cpu else ()


def listed(device: str | tuple[str, ...]) -> tuple[str, ...]:
    """As a tuple."""
    return (device,) if isinstance(device, str) else device
