"""Applies a combine rule: the members' distributions, by name, become one checked distribution.

Shape suffixes: `M` members, `U` the union vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from gac_app.decoding.rules.contracts import CombineRule, LinearRule
from gac_app.decoding.rules.shipped.averaging import weighted_sum
from gac_app.errors import RuleError
from gac_app.vocab.mapping import VocabMapping


class Combiner:
    """Applies a rule to the members that take part in a step.

    Args:
        mappings: of all members, by name.
        draws_one: one drawn member stands for all (see `contracts.draws_one`).
    """

    def __init__(
        self, rule: CombineRule, mappings: Mapping[str, VocabMapping] | None = None, *, draws_one: bool = False
    ) -> None:
        self._rule, self._mappings, self.draws_one = rule, mappings or {}, draws_one

    @property
    def is_linear(self) -> bool:
        """Whether the result is the mean, weighted by `mixture_weights`."""
        return isinstance(self._rule, LinearRule)

    def mixture_weights(self, weights: Mapping[str, float]) -> dict[str, float]:
        """The weights of the members taking part: a linear rule's shares, else the weights as they are.

        Raises:
            RuleError: a linear rule fails, or its shares are no weights of a mean.
        """
        if isinstance(self._rule, LinearRule) and len(weights) > 1:
            return dict(zip(weights, _shares(self._rule, list(weights.values())), strict=True))
        return dict(weights)

    def __call__(self, probs: Mapping[str, torch.Tensor], weights: Mapping[str, float]) -> torch.Tensor:
        """One distribution, [U], on the device of the first; for one member, its own.

        Args:
            probs: aligned, by member name, the gate first.
            weights: the result of `mixture_weights`.

        Raises:
            RuleError: the rule fails, or its result is no distribution.
        """
        if len(probs) == 1:
            return next(iter(probs.values()))
        in_order = [weights[name] for name in probs]
        return weighted_sum(probs.values(), in_order) if self.is_linear else self._by_rule(probs, in_order)

    def _by_rule(self, probs: Mapping[str, torch.Tensor], weights: list[float]) -> torch.Tensor:
        device = next(iter(probs.values())).device
        probs_MU = torch.stack([probs_U.to(device, non_blocking=True) for probs_U in probs.values()])
        weights_M, rule = torch.tensor(weights, device=device), self._rule
        mappings = [self._mappings[name] for name in probs if name in self._mappings]
        with rule.failures_named():
            combined_U = rule.for_members(mappings)(probs_MU, weights_M)
            if combined_U.shape != probs_MU.shape[1:]:
                shapes = f"{list(combined_U.shape)}; expected {list(probs_MU.shape[1:])}, one number per union token"
                raise RuleError(rule.rule_name, f"gave the shape {shapes}")
            least, total = float(combined_U.min()), float(combined_U.sum())
            if not (least >= 0 and 0 < total < math.inf):
                found = f"from {least:g}, with the sum {total:g}"
                raise RuleError(rule.rule_name, f"gave numbers {found}; expected finite ones of at least 0, not all 0")
            return (combined_U / total).float()


def _shares(rule: LinearRule, weights: list[float]) -> list[float]:
    with rule.failures_named():
        shares = [float(share) for share in rule.shares(weights)]
    is_whole = len(shares) == len(weights) and all(share >= 0 for share in shares)
    if not is_whole or not math.isclose(sum(shares), 1, abs_tol=1e-6):
        expected = f"{len(weights)} numbers of at least 0 that sum to 1"
        raise RuleError(rule.rule_name, f"gave the shares {shares}; expected {expected}")
    return shares
