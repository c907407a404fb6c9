"""Multiplies with the large float32 matrices of a model as fast as a CPU can read them.

A decoding step multiplies one row with every weight of the model, a verified draft or a shared pass a few. torch's own
product reads the weights at half of the memory's speed with two rows, at a third with eight, and repacks them in parts
at every call. With weights packed once for oneDNN's kernels, several rows take little more than one. Whether that is
faster depends on the CPU and the shape, so it is tried when a model is loaded. Both give the same sums, up to float32
rounding.

The packed weights are copies. The originals of a memory-mapped file stay in memory until the system needs the space.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.nn import functional

from gac_app.models.hardware import main_memory_bytes

_PACKED_FOR_ROWS = 8  # packed for one row alone, several take twice the time
_MIN_WEIGHTS = 2**18  # of a matrix; smaller ones stay in the cache, where there is nothing to gain
_TRIED_BYTES = 2**26  # of weights that a trial goes through: more than a cache holds, as in a model's step
_TRIED_ROWS = (1, 4)  # a step, and a verified draft or a pass that answers share
_TRIALS = 3  # of which the fastest counts
_GAIN = 0.9  # of the plain product's time, from which a layer is packed
_MAX_SHARE = 0.25  # of main memory, that the packed weights of one model may take


class PackedLinear(nn.Linear):
    """A linear layer that multiplies with a packed copy of its weights.

    Args:
        linear: whose weights it shares, because some models access those of their layers.

    Raises:
        RuntimeError: where this torch cannot pack them.
    """

    def __init__(self, linear: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self._packed = _packed(linear.weight)
        self.train(linear.training)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """`input` [..., in] to [..., out]."""
        return _packed_product(input, self._packed, self.bias)


def pack(model: nn.Module) -> None:
    """Pack the large linear layers of a float32 model on a CPU where that gains, tried with torch's threads.

    A model whose packed weights would take much of the memory stays as it is.
    """
    by_shape: dict[torch.Size, list[tuple[nn.Module, str, nn.Linear]]] = defaultdict(list)
    for parent, name, linear in _large_layers(model):
        by_shape[linear.weight.shape].append((parent, name, linear))
    num_bytes = sum(linear.weight.nbytes for layers in by_shape.values() for *_, linear in layers)
    memory_bytes = main_memory_bytes()
    if memory_bytes is None or num_bytes > _MAX_SHARE * memory_bytes:
        return
    with torch.inference_mode():
        for layers in by_shape.values():
            if _gains([linear.weight for *_, linear in layers]):
                for parent, name, linear in layers:
                    setattr(parent, name, PackedLinear(linear))


def _large_layers(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    for parent in model.modules():
        for name, child in parent.named_children():
            if type(child) is nn.Linear and _may_gain(child.weight):
                yield parent, name, child


def _may_gain(weight: torch.Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and weight.numel() >= _MIN_WEIGHTS


def _gains(weights: list[torch.Tensor]) -> bool:
    """Whether packing matrices of this one shape is worth it."""
    row_bytes = weights[0].shape[1] * weights[0].element_size()
    num_tried = max(1, _TRIED_BYTES // (weights[0].shape[0] * row_bytes))
    plain = [weight[: max(1, _TRIED_BYTES // row_bytes)] for weight in weights[:num_tried]]
    try:
        packed = [_packed(weight) for weight in plain]
        seconds = [(_seconds(functional.linear, plain), _seconds(_packed_product, packed)) for _ in range(_TRIALS)]
    except (RuntimeError, AttributeError):  # built without these functions, or not for this processor
        return False
    return min(packed_s for _, packed_s in seconds) < _GAIN * min(plain_s for plain_s, _ in seconds)


def _seconds(product: Callable[..., torch.Tensor], weights: list[torch.Tensor]) -> float:
    inputs = [torch.ones(num_rows, weights[0].shape[1]) for num_rows in _TRIED_ROWS]
    started = time.perf_counter()
    for rows in inputs:
        for weight in weights:
            product(rows, weight, None)
    return time.perf_counter() - started


# The functions that torch.compile puts where it has frozen a model's weights; torch has no other names for them.


def _packed(weight: torch.Tensor) -> torch.Tensor:
    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), _PACKED_FOR_ROWS)
    return packed


def _packed_product(rows: torch.Tensor, packed: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rows, packed, bias, "none", [], "")
    return product
