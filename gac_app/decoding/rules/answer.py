"""The rules of one answer, with what they have learnt from it so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gac_app.config import Settings
from gac_app.decoding.distribution import TokenDistribution
from gac_app.decoding.rules.combiner import Combiner
from gac_app.decoding.rules.gate import Gate
from gac_app.decoding.rules.sampling import Sampler
from gac_app.decoding.rules.weights import StepWeights


@dataclass(frozen=True, slots=True)
class AnswerRules:
    """Who is asked at a step, how their distributions are combined, and how a token is chosen from the result."""

    settings: Settings
    gate: Gate
    combiner: Combiner
    weights: StepWeights
    sampler: Sampler

    def shares(self, distributions: Mapping[str, TokenDistribution]) -> dict[str, float]:
        """The weight of each member that takes part, by name. Raises RuleError if the weight rule fails."""
        return self.combiner.shares(self.weights.of(list(distributions), distributions.__getitem__))
