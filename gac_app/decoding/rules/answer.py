"""The rules of a step, and of one answer, with their state."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gac_app.decoding.rules.combiner import Combiner
from gac_app.decoding.rules.gate import Gate, GateView
from gac_app.decoding.rules.sampling import Sampler
from gac_app.decoding.rules.weights import LEAST_LOG_PROB, DistributionOf, StepWeights
from gac_app.settings import Settings


@dataclass(frozen=True, slots=True)
class StepRules:
    """Which members take part in a step, and how their distributions become one. The weights learn from each step."""

    gate: Gate
    combiner: Combiner
    weights: StepWeights

    def mixture_weights(self, names: Sequence[str], distribution_of: DistributionOf | None = None) -> dict[str, float]:
        """The weight of each member that takes part, by name.

        Args:
            distribution_of: needed where the weights depend on the distributions of the step.

        Raises:
            RuleError: a rule fails.
        """
        return self.combiner.mixture_weights(self.weights.of(names, distribution_of))

    def mixture_weights_along(
        self,
        log_probs: Mapping[str, float],
        views: Mapping[str, GateView],
        distribution_of: DistributionOf | None = None,
        *,
        is_stable: bool = True,
    ) -> dict[str, float]:
        """As `mixture_weights`, of the members that take part in a step along a given text. The weights learn from it.

        Args:
            log_probs: of the step's part of the text, by the names of all members, the gate first.
            views: what the gate sees, by the names of members that can begin a token there.
            is_stable: see `Gate.decide`.
        """
        names = list(log_probs)
        seen = [views[name] for name in self.gate.asked_first(names) if name in views]
        if len(names) == 1 or (seen and not self.gate.decide(seen, is_stable=is_stable).is_open):
            return {names[0]: 1.0}
        weights = self.mixture_weights(names, distribution_of)
        self.weights.note({name: max(one, LEAST_LOG_PROB) for name, one in log_probs.items()}, is_shared=True)
        return weights

    def restarted(self) -> StepRules:
        """These rules at the start of another text."""
        return StepRules(self.gate, self.combiner, self.weights.restarted())

    @property
    def needs_distributions(self) -> bool:
        """Whether the probability of a text needs whole distributions."""
        return not self.combiner.is_linear or self.weights.needs_distributions


@dataclass(frozen=True, slots=True)
class AnswerRules(StepRules):
    """The rules of one answer, of which one is how a token is chosen.

    Attributes:
        stopped: ends the answer when set; every wait checks it.
    """

    settings: Settings
    sampler: Sampler
    stopped: threading.Event = field(default_factory=threading.Event)

    def sampled_member(self, names: Sequence[str]) -> str:
        """The member that stands for all of `names` at this step; "" = none: members take part as the gate decides."""
        if not self.combiner.draws_one or len(names) == 1:
            return ""
        return self.sampler.sample_member(self.mixture_weights(names))

    def asked_first(self, names: list[str]) -> list[str]:
        """Those of `names`, in the ensemble's order, whose distributions every step needs."""
        sampled = self.sampled_member(names)
        return [sampled] if sampled and self.gate.rule is None else self.gate.asked_first(names)
