"""Each member's weight at a step: the weight rule's (paper, section 3.2), times the evidence of the text."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace

from gac_app.decoding.distribution import TokenDistribution
from gac_app.decoding.rules.contracts import WeightInputs, WeightRule, memory_of
from gac_app.errors import RuleError

DistributionOf = Callable[[str], TokenDistribution]  # a member's distribution at the step, by its name

LEAST_LOG_PROB = -9999.0  # of a text that cannot be, so that none is impossible
_LEAST_PROB = 1e-30  # in place of 0, which has no logarithm
_MAX_LOSS = math.log(1e6)  # by one piece, against the best member: the loser may only have cut the text elsewhere


class StepWeights:
    """The weight rule's weights, multiplied by each member's probability of the chosen pieces.

    Without memory, the evidence restarts at every boundary that the members share. It counts only within a part of the
    text that one member's tokens cut and another's do not. There, the member that predicted that part better counts
    more. Otherwise a member that spells bytes and does not know the language would decide a character of three bytes
    three times. With memory (posterior weights) nothing restarts: if all boundaries are shared, the mixture costs at
    most log2(1 / prior) bits more than the member that predicted the whole text best.

    Args:
        prior: the weights that the rule starts from, by member name.
        read_prompt: gives the prompt's bits per byte under a member; called once for each, if the rule needs it.
    """

    def __init__(
        self,
        prior: Mapping[str, float],
        rule: WeightRule | None = None,
        read_prompt: Callable[[str], float] = float,
    ) -> None:
        self._prior = prior
        self._rule = rule or WeightRule()
        self._memory = memory_of(self._rule)
        self._read_prompt = read_prompt
        self._prompt_bits: dict[str, float] = {}
        self._evidence: dict[str, float] = {}  # log-probability of the chosen pieces

    def restarted(self) -> StepWeights:
        """These weights at the start of another text after the prompt."""
        other = copy(self)
        other._evidence = {}
        return other

    @property
    def needs_distributions(self) -> bool:
        """Whether the weights depend on the distributions of the step."""
        return self._rule.needs_distributions

    @property
    def has_memory(self) -> bool:
        """Whether every step counts, not only those at whose boundaries the members part."""
        return self._memory is not None

    def prepare(self, names: Sequence[str]) -> None:
        """Let members read the prompt, if the rule needs that: before a session reads anything, as it has room then."""
        for name in names if self._rule.needs_prompt else ():
            if name not in self._prompt_bits:
                self._prompt_bits[name] = self._read_prompt(name)

    def of(self, names: Sequence[str], distribution_of: DistributionOf | None = None) -> dict[str, float]:
        """The weights of the members taking part, summing to 1; equal weights if all are 0.

        Args:
            distribution_of: needed if the rule `needs_distributions`.

        Raises:
            RuleError: the rule fails.
        """
        if len(names) == 1:
            return {names[0]: 1.0}
        weights = self._by_rule(names, distribution_of)
        if self._evidence:
            counted = [name for name in names if weights[name] > 0]
            best = max((self._evidence.get(name, 0.0) for name in counted), default=0.0)
            for name in counted:
                weights[name] *= math.exp(self._evidence.get(name, 0.0) - best)
        total = sum(weights.values())
        return {name: weight / total if total > 0 else 1 / len(weights) for name, weight in weights.items()}

    def learn(self, probs: Mapping[str, float], *, is_shared: bool) -> None:
        """As `note`, from probabilities. A single member proves nothing, so it counts as none."""
        log_probs = {name: math.log(max(prob, _LEAST_PROB)) for name, prob in probs.items()}
        self.note(log_probs if len(probs) > 1 else {}, is_shared=is_shared or len(probs) <= 1)

    def note(self, log_probs: Mapping[str, float], *, is_shared: bool) -> None:
        """Update the evidence.

        Args:
            log_probs: each member's log-probability of the piece chosen; empty if one decided alone.
            is_shared: whether the members share the boundary after the piece.
        """
        if self._memory is not None:
            if not log_probs:
                return
            self._evidence = {name: old * self._memory for name, old in self._evidence.items()}
        elif is_shared:
            self._evidence.clear()
            return
        least = max(log_probs.values(), default=0.0) - _MAX_LOSS
        for name, log_prob in log_probs.items():
            self._evidence[name] = self._evidence.get(name, 0.0) + max(log_prob, least)

    def _by_rule(self, names: Sequence[str], distribution_of: DistributionOf | None) -> dict[str, float]:
        inputs = WeightInputs({name: self._prior[name] for name in names})
        if self._rule.needs_distributions and distribution_of:
            inputs = replace(inputs, distributions={name: distribution_of(name) for name in names})
        if self._rule.needs_prompt:
            self.prepare(names)
            inputs = replace(inputs, prompt_bits=self._prompt_bits)
        with self._rule.failures_named():
            given = self._rule(inputs)
            weights = {name: float(given[name]) for name in names}
        if not all(0 <= weight < math.inf for weight in weights.values()):
            raise RuleError(self._rule.rule_name, "gave a weight that is not a finite number of at least 0")
        return weights
