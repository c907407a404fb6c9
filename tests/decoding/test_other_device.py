"""Distributions stay on the device that computed them: what is copied of a step, and that the answer is the CPU's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.backend_registration import _DummyDeviceGuard

from gac_app.decoding.distribution.token_distribution import NUM_TOP
from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.member import InlineMember
from gac_app.decoding.trace import TokenEvent
from gac_app.models.random_model import RandomModel, make_vocabulary
from gac_app.models.sequence import ForwardRequest
from tests.fakes import config_of, ensemble_of

FEW = 1024  # values that are copied at most
WORDS = [f" {index:x}".encode() for index in range(5000)]

# --- GPUs that are not there: numpy cannot read tensors on them, and every copy to, from and between them is noted

KIND = "privateuseone"  # the one kind that torch lets a program add


class Held(torch.Tensor):
    """A tensor on the device; its values are really in main memory."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor, device: torch.device) -> Held:
        made: Held = torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), dtype=held.dtype, device=device
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} outside `noted`")

    def tolist(self) -> Any:
        return self.cpu().tolist()

    __torch_function__ = torch._C._disabled_torch_function_impl


@dataclass
class Copies:
    """Numbers of values copied, one entry a copy."""

    to_host: list[int] = field(default_factory=list)  # each makes the host wait for the device
    to_device: list[int] = field(default_factory=list)
    across: list[int] = field(default_factory=list)  # between two of its devices

    def clear(self) -> None:
        for found in (self.to_host, self.to_device, self.across):
            found.clear()


class _Device(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, copies: Copies) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._copies = copies

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func.overloadpacket.__name__, dict(kwargs or {})
        devices = {each.device for each in _tensors((args, kwargs)) if isinstance(each, Held)}
        sizes = [each.numel() for each in _tensors(args) if isinstance(each, Held)]
        wanted = torch.device(kwargs.pop("device", None) or next(iter(devices), "cpu"))
        is_copy = name in ("_to_copy", "to", "copy_")
        assert len(devices) <= 1 or is_copy, f"{name} of tensors on {devices}"
        if name in ("_local_scalar_dense", "item", "nonzero", "is_nonzero"):
            self._copies.to_host.append(1)
        elif is_copy and devices and wanted.type == "cpu":
            self._copies.to_host += sizes
        elif is_copy and devices and {wanted} != devices:
            self._copies.across += sizes
        elif is_copy and not devices and wanted.type == KIND:
            self._copies.to_device += [each.numel() for each in _tensors(args)]
        found = func(*tree_map(_value, args), **tree_map(_value, kwargs))
        if wanted.type != KIND:
            return found
        if name.endswith("_") or name.startswith("_local"):  # in place, or a number
            return args[0] if name.endswith("_") else found
        return tree_map(lambda each: Held(each, wanted) if isinstance(each, torch.Tensor) else each, found)


def _tensors(parts: Any) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    tree_map(lambda each: found.append(each) if isinstance(each, torch.Tensor) else None, parts)
    return found


def _value(each: Any) -> Any:
    return each.held if isinstance(each, Held) else each


@contextmanager
def noted() -> Iterator[Copies]:
    """The device exists in this context and thread."""
    copies = Copies()
    _register()
    module: Any = SimpleNamespace(_lazy_init=lambda: None)
    with patch.dict(sys.modules, {f"torch.{KIND}": module}), _Device(copies):
        torch._C._set_only_lift_cpu_tensors(True)  # so that `torch.tensor` copies to the device where it is seen
        try:
            yield copies
        finally:
            torch._C._set_only_lift_cpu_tensors(False)


@cache
def _register() -> None:
    """Otherwise torch refuses to index a tensor there."""
    torch._C._acc.register_python_privateuseone_device_guard(_DummyDeviceGuard())


class DeviceModel(RandomModel):
    """A random model on one of its devices."""

    def __init__(self, name: str, seed: int, index: int, **options: Any) -> None:
        super().__init__(name, seed, **options)
        self.device = torch.device(KIND, index)

    def forward(self, requests: list[ForwardRequest]) -> list[torch.Tensor]:
        return [Held(logits_NV, self.device) for logits_NV in super().forward(requests)]


# --- answers


def make(kind: type[RandomModel], **settings: object) -> Ensemble:
    """Two members, each on a device of its own."""
    models = []
    for index, name in enumerate("ab"):
        few = make_vocabulary(index)
        words = [word for word in WORDS if word not in few.texts()]
        larger = replace(few, token_bytes=(*few.token_bytes, *words))
        options = {"index": index} if kind is DeviceModel else {}
        models.append(kind(name, index, vocabulary=larger, sharpness=8.0, **options))
    ensemble = ensemble_of(models, config_of("ab", {"max_new_tokens": 24, **settings}), InlineMember)
    assert len(ensemble.union) > 4 * FEW
    return ensemble


def answers(**settings: object) -> tuple[list[TokenEvent], list[TokenEvent], list[Copies]]:
    """Of the CPU, of two other devices, and what was copied for each token of the latter."""
    expected = [event for event in make(RandomModel, **settings).generate("Hello") if isinstance(event, TokenEvent)]
    found, copied = [], []
    with noted() as copies:
        ensemble = make(DeviceModel, **settings)
        copies.clear()
        for event in ensemble.generate("Hello"):
            if isinstance(event, TokenEvent):
                found.append(event)
                copied.append(Copies(list(copies.to_host), list(copies.to_device), list(copies.across)))
            copies.clear()
    assert found
    return expected, found, copied


SAMPLED = {"temperature": 0.8, "seed": 3}


@pytest.mark.parametrize(
    "settings",
    [
        {"mode": "every-step", "alignment": "prefix"},
        {"mode": "every-step", "alignment": "paper", **SAMPLED},
        {"mode": "gate", "alignment": "paper", **SAMPLED, "top_p": 0.9},
        {"mode": "gate", "alignment": "prefix", **SAMPLED, "top_k": 5, "min_p": 0.1},
        {"mode": "gate", "alignment": "prefix", **SAMPLED, "threshold": 0.0},
    ],
    ids=str,
)
def test_no_vocabulary_is_copied_to_the_host(settings: dict[str, object]) -> None:
    expected, found, copied = answers(**settings)
    assert [(event.text, event.step.token_id, event.step.winner) for event in found] == [
        (event.text, event.step.token_id, event.step.winner) for event in expected
    ]
    assert all(max(copies.to_host + copies.to_device, default=0) <= FEW for copies in copied)


@pytest.mark.parametrize("alignment", ["prefix", "paper"])
def test_a_greedy_mean_copies_no_vocabulary_between_devices(alignment: str) -> None:
    _, _, copied = answers(mode="every-step", alignment=alignment)
    assert copied
    is_sure = [not copies.across for copies in copied]
    assert sum(is_sure) > 0.8 * len(is_sure), "where two tokens are about equally likely, all are looked at"


def test_a_step_of_the_gate_alone_copies_its_top() -> None:
    _, found, copied = answers(mode="gate", threshold=0.0, alignment="paper")
    assert not any(event.step.is_ensembled for event in found)
    # Ids and probabilities. Before the first step the other member has read the prompt; after the last nothing is read.
    assert {tuple(copies.to_host) for copies in copied[1:-1]} == {(NUM_TOP, NUM_TOP)}
