"""How much of a GPU's memory a member needs, and how it is divided among GPUs. Knows no model format."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gac_app.models.hardware.devices import GIB

CPU = "cpu"
ByDevice = Mapping[str, int]  # bytes
DeviceMap = Mapping[str, str]  # transformers' module names -> devices; "" = the whole model
Spread = Callable[[ByDevice], tuple[DeviceMap, ByDevice] | None]  # limits -> the modules' devices, weights by device
# Layers are divided evenly, up to these times an equal part. With the last one the first GPUs are filled.
_UNEVEN = (1.05, 1.2, 1.5, math.inf)


@dataclass(frozen=True, slots=True)
class Need:
    """Memory that a member needs, in bytes.

    Attributes:
        weights: of all devices together.
        cache: keys and values of one sequence as long as the context.
        num_sequences: held at once.
        context_length: of one sequence; 0 = unknown, as the whole need is estimated from the number of parameters.
        workspace: on every device: activations, logits, and CUDA's own.
        spread: divides the weights among devices; None = they can be cut anywhere, and the device map is left to
            transformers.
        instead: settings with which the least is less -> how much that is.
    """

    weights: int = 0
    cache: int = 0
    num_sequences: int = 1
    context_length: int = 0
    workspace: int = 0
    spread: Spread | None = None
    instead: Mapping[str, int] = field(default_factory=dict)

    @property
    def most(self) -> int:
        """On one device, with all sequences."""
        return self.weights + self.num_sequences * self.cache + self.workspace

    @property
    def least(self) -> int:
        """On one device, with one sequence."""
        return self.weights + self.cache + self.workspace

    def divide(self, limits: ByDevice, num_sequences: int) -> tuple[DeviceMap, ByDevice] | None:
        """Its modules among these devices, with room for so many sequences, and the bytes that it takes of each; None =
        it does not fit. Main memory (`cpu`) gets the layers for which the others have no room.
        """
        caches = num_sequences * self.cache
        beside = {name: max(0, room - self.workspace) for name, room in limits.items() if name != CPU}
        if len(beside) == 1 and limits[name := next(iter(beside))] >= (size := self.weights + caches + self.workspace):
            return {"": name}, {name: size}
        # Each layer has its part of the caches.
        share = self.weights / (self.weights + caches) if self.weights else 1.0
        if CPU not in limits and self.weights > share * sum(beside.values()):
            return None
        even = self.weights / max(1, len(beside))
        tries = [{name: int(min(room * share, even * uneven)) for name, room in beside.items()} for uneven in _UNEVEN]
        if CPU in limits:
            tries.append({**tries[-1], CPU: int(limits[CPU] * share)})
        for budgets in tries:
            if found := (self.spread or self._filled)(budgets):
                device_map, weights = found
                return device_map, {
                    name: int(size / share) + self.workspace * (name != CPU and size > 0)
                    for name, size in weights.items()
                }
        return None

    def _filled(self, budgets: ByDevice) -> tuple[DeviceMap, ByDevice] | None:
        left, filled = self.weights, {}
        for name, budget in budgets.items():
            filled[name] = min(left, budget)
            left -= filled[name]
        return None if left else ({}, filled)

    def refusal(self, member: str, limits: ByDevice) -> str:
        """Why it does not fit these devices, and what would."""
        about = f"weights {_gib(self.weights)}, cache {_gib(self.cache)} for one of {self.num_sequences} sequences"
        if self.context_length:
            about += f" of {self.context_length:,} tokens"
        there = ", ".join(f"{name} has {gib(room)}" for name, room in limits.items())
        fitting = [f"{what} ({gib(size)})" for what, size in self.instead.items() if size <= sum(limits.values())]
        several = "several GPUs" if len(limits) == 1 else "more GPUs"
        return (
            f"{member}: needs at least {gib(self.least)} ({about}, workspace {_gib(self.workspace)}), and {there} "
            f"free; use {', '.join([*fitting, 'a smaller context_length'])}, or {several}"
        )


def gib(num_bytes: int | None) -> str:
    """For people."""
    return "?" if num_bytes is None else f"{_gib(num_bytes)} GiB"


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / GIB:.1f}"
