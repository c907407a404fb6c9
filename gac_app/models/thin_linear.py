"""Products of a few rows with a large float32 matrix, as fast as a CPU reads the matrix.

A decoding step multiplies one row, a verified draft a few, with every weight of the model. Taken as x Wᵀ, torch's
libraries often reach half of the memory's speed with so few rows, on some CPUs less for two rows than for eight; taken
as (W xᵀ)ᵀ they may come close to it. Which is the faster depends on the CPU, the shape and the number of rows, so it is
tried when a model is loaded. Both are the same sums, to float32 rounding.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

MAX_ROWS = 8
_MIN_WEIGHTS = 2**18  # of a matrix; smaller ones stay in the cache, where there is nothing to gain
_TRIED_BYTES = 2**26  # of weights that a trial goes through: more than a cache holds, as in a model's step
_TRIALS = 3  # of which the fastest counts
_GAIN = 0.9  # of the plain product's time, from which the other is taken


class ThinLinear(nn.Linear):
    """A linear layer that takes the faster product for few rows.

    Args:
        linear: whose weights it shares.
        thin_rows: numbers of rows for which (W xᵀ)ᵀ is the faster.
    """

    def __init__(self, linear: nn.Linear, thin_rows: frozenset[int]) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.thin_rows = thin_rows
        self.train(linear.training)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """`input` [..., in] to [..., out]."""
        if input.numel() // self.in_features not in self.thin_rows:
            return super().forward(input)
        rows = thin_product(input.reshape(-1, self.in_features), self.weight)
        if self.bias is not None:
            rows = rows + self.bias
        return rows.view(*input.shape[:-1], self.out_features)


def thin_product(rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """`rows` [N, in] times `weight` [out, in] transposed, [N, out]."""
    if len(rows) == 1:  # one column would be a matrix by a vector, for which libraries have another, slower way
        return (weight @ rows.repeat(2, 1).t())[:, :1].t().contiguous()
    return (weight @ rows.t()).t().contiguous()


def make_thin(model: nn.Module) -> None:
    """Let the large linear layers of a float32 model on a CPU take the faster product, tried with torch's threads."""
    layers = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Linear and _may_gain(child.weight)
    ]
    by_shape: dict[torch.Size, list[torch.Tensor]] = defaultdict(list)
    for _, _, linear in layers:
        by_shape[linear.weight.shape].append(linear.weight)
    with torch.inference_mode():
        thin_rows = {shape: _thin_rows(weights) for shape, weights in by_shape.items()}
    for parent, name, linear in layers:
        if rows := thin_rows[linear.weight.shape]:
            setattr(parent, name, ThinLinear(linear, rows))


def _may_gain(weight: torch.Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and weight.numel() >= _MIN_WEIGHTS


def _thin_rows(weights: list[torch.Tensor]) -> frozenset[int]:
    """Numbers of rows for which the thin product is the faster with matrices of this one shape."""
    row_bytes = weights[0].shape[1] * weights[0].element_size()
    num_tried = max(1, _TRIED_BYTES // (weights[0].shape[0] * row_bytes))
    tried = [weight[: max(1, _TRIED_BYTES // row_bytes)] for weight in weights[:num_tried]]
    gaining = set()
    for num_rows in range(1, MAX_ROWS + 1):
        rows = torch.ones(num_rows, weights[0].shape[1])
        times = [
            (_seconds(functional.linear, rows, tried), _seconds(thin_product, rows, tried)) for _ in range(_TRIALS)
        ]
        plain, thin = (min(column) for column in zip(*times, strict=True))
        if thin < _GAIN * plain:
            gaining.add(num_rows)
    return frozenset(gaining)


def _seconds(
    product: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], rows: torch.Tensor, weights: list[torch.Tensor]
) -> float:
    started = time.perf_counter()
    for weight in weights:
        product(rows, weight)
    return time.perf_counter() - started
