"""What each member's distribution counts at a step (paper, section 3.2), and how that follows the text."""

from __future__ import annotations

import math
from collections.abc import Mapping

_MAX_LOSS = math.log(1e6)  # to the best one, by one piece: a member may only have cut the bytes elsewhere


class StepWeights:
    """The given weights, each multiplied by the probability that its member gave to what was chosen.

    Fixed weights count anew at every boundary that the members share: only within a stretch that one member's tokens
    cut where another's go on does the member count more that predicted the stretch so far better. Otherwise a
    character of three bytes would be decided three times, by a member that spells bytes and does not know the language.
    Posterior weights never start anew: where all boundaries are shared, the mixture has cost in the end at most
    log2(1 / given weight) bits more than the member that predicted the whole text best.

    Args:
        given: by member name.
        is_posterior: whether the evidence is kept over shared boundaries.
        decay: what the evidence of a step earlier counts, in (0, 1]; below 1 old evidence is forgotten.
    """

    def __init__(self, given: Mapping[str, float], *, is_posterior: bool = False, decay: float = 1.0) -> None:
        self._given = given
        self._is_posterior = is_posterior
        self._decay = decay
        self._evidence: dict[str, float] = {}  # log-probability of what was chosen

    def of(self, names: list[str]) -> dict[str, float]:
        """The weights of the members taking part, summing to 1; equal ones where all of theirs are 0."""
        weights = {name: self._given[name] for name in names}
        if self._evidence:
            best = max(self._evidence.get(name, 0.0) for name in names)
            for name in names:
                weights[name] *= math.exp(self._evidence.get(name, 0.0) - best)
        total = sum(weights.values())
        return {name: weight / total if total > 0 else 1 / len(names) for name, weight in weights.items()}

    def note(self, log_probs: Mapping[str, float], *, is_shared: bool) -> None:
        """Learn from a step.

        Args:
            log_probs: what each member gave to the piece chosen; empty where one decided alone.
            is_shared: whether the members share the boundary behind the piece.
        """
        if self._is_posterior:
            if not log_probs:
                return
            self._evidence = {name: old * self._decay for name, old in self._evidence.items()}
        elif is_shared:
            self._evidence.clear()
            return
        least = max(log_probs.values(), default=0.0) - _MAX_LOSS
        for name, log_prob in log_probs.items():
            self._evidence[name] = self._evidence.get(name, 0.0) + max(log_prob, least)
