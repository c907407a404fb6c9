"""The gate rules."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from gac_app.decoding.rules.contracts import GateRule, gate_rules

if TYPE_CHECKING:
    from gac_app.decoding.distribution import TokenDistribution


@gate_rules.register("max-prob", "Largest probability", "The probability of the gate's likeliest token.")
class MaxProb(GateRule):
    """max p (GaC, arXiv 2406.12585, section 3.3)."""

    reads_top: ClassVar[bool] = True

    def __call__(self, gate: TokenDistribution) -> float:
        return gate.top[0][1]


@gate_rules.register("margin", "Margin", "The gate's largest probability minus its second largest.")
class Margin(GateRule):
    """p_1 - p_2 of the sorted probabilities (AdaFuse, arXiv 2601.06022)."""

    reads_top: ClassVar[bool] = True

    def __call__(self, gate: TokenDistribution) -> float:
        first, *others = gate.top[:2]
        return first[1] - (others[0][1] if others else 0.0)


@gate_rules.register("entropy", "Entropy", "1 divided by the perplexity of the gate's distribution.")
class Entropy(GateRule):
    """exp(-H(p)): 1 if the gate is certain, 1/n if n tokens are equally likely."""

    def __call__(self, gate: TokenDistribution) -> float:
        return math.exp(-gate.entropy)


@gate_rules.register("random", "Random", "Chance: at a threshold of 0.2 a fifth of the steps ask all members.")
class Random(GateRule):
    """A null to hold other rules against. Draws from the likeliest tokens' ids: the same text, the same confidence."""

    def __call__(self, gate: TokenDistribution) -> float:
        return zlib.crc32(repr([token_id for token_id, _ in gate.top[:8]]).encode()) / 2**32


class Agreement(GateRule):
    """The mode `agreement`: the gate decides alone where all members have the same argmax. It has no threshold.

    After SAFE (arXiv 2510.15346), which ensembles only where members disagree, and only at positions at which the
    text so far is made of every member's own tokens. Every step asks all members, so it saves no passes.
    """

    rule_name: ClassVar[str] = "agreement"
    asks_all: ClassVar[bool] = True
    reads_top: ClassVar[bool] = True

    def __call__(self, gate: TokenDistribution) -> float:
        return gate.top[0][1]

    def opens(self, confidence: float, threshold: float, argmaxes: Sequence[int], *, is_stable: bool) -> bool:
        return is_stable and len(set(argmaxes)) > 1
