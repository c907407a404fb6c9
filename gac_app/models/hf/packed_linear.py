"""Multiplies with a model's large float32 matrices as fast as a CPU can read them.

A decoding step multiplies one row with every weight of the model; verifying a draft and shared passes multiply a few
rows. torch's own product reads the weights at half of the memory's speed with two rows and at a third with eight, and
partly repacks them at every call. With weights packed once for oneDNN's kernels, several rows take little more time
than one. Whether that is faster depends on the CPU and the shape, so it is measured when a model is loaded. Both give
the same sums, up to float32 rounding.

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

_PACKED_FOR_ROWS = 8  # if packed for one row, several take twice the time
_MIN_WEIGHTS = 2**18  # smaller matrices stay in the CPU's cache, so packing gains nothing
_TRIED_BYTES = 2**26  # of weights in a trial: more than a CPU's cache holds, as in a model's step
_TRIED_ROWS = (1, 4)  # a step; a verified draft or a shared pass
_TRIALS = 3  # the fastest counts
_GAIN = 0.9  # of the plain product's time: a layer is packed if it takes at most this
_MAX_SHARE = 0.25  # of main memory for one model's packed weights


class PackedLinear(nn.Linear):
    """A linear layer that multiplies with a packed copy of its weights.

    Args:
        linear: the original layer. Its weights are shared, because some models access them.

    Raises:
        RuntimeError: this torch cannot pack them.
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
    """Pack the large linear layers of a float32 model on a CPU where measurements show a gain.

    A model whose packed weights would take too much memory is left unchanged.
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
    """Whether packing gains time for matrices of this shape."""
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


# The functions that torch.compile uses for frozen weights; torch has no public names for them.


def _packed(weight: torch.Tensor) -> torch.Tensor:
    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), _PACKED_FOR_ROWS)
    return packed


def _packed_product(rows: torch.Tensor, packed: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rows, packed, bias, "none", [], "")
    return product
