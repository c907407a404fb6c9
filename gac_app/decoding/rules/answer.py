"""The rules of one answer, with their state."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gac_app.decoding.distribution import TokenDistribution
from gac_app.decoding.rules.combiner import Combiner
from gac_app.decoding.rules.gate import Gate
from gac_app.decoding.rules.sampling import Sampler
from gac_app.decoding.rules.weights import StepWeights
from gac_app.settings import Settings


@dataclass(frozen=True, slots=True)
class AnswerRules:
    """Which members a step asks, how their distributions are combined, and how a token is chosen from the result.

    Attributes:
        stopped: ends the answer when set; every wait checks it.
    """

    settings: Settings
    gate: Gate
    combiner: Combiner
    weights: StepWeights
    sampler: Sampler
    stopped: threading.Event = field(default_factory=threading.Event)

    def sampled_member(self, names: Sequence[str]) -> str:
        """The member that stands for all of `names` at this step; "" = none: members take part as the gate decides."""
        if not self.combiner.draws_one or len(names) == 1:
            return ""
        return self.sampler.sample_member(self.combiner.shares(self.weights.of(names)))

    def asked_first(self, names: list[str]) -> list[str]:
        """Those of `names`, in the ensemble's order, whose distributions every step needs."""
        sampled = self.sampled_member(names)
        return [sampled] if sampled and self.gate.rule is None else self.gate.asked_first(names)

    def shares(self, distributions: Mapping[str, TokenDistribution]) -> dict[str, float]:
        """The weight of each member that takes part, by name. Raises RuleError if the weight rule fails."""
        return self.combiner.shares(self.weights.of(list(distributions), distributions.__getitem__))
