"""The combined distribution of a step, and the choice from it.

A choice is proven from bounds. Those of members that run here are equal: of a greedy mean, the members' likeliest
tokens and a bound on all others mostly suffice, so that no whole vocabulary is combined, or goes from one GPU to
another. Where a server told only a member's likeliest tokens, what the bounds leave open is asked for.

Shape suffixes: `U` the union vocabulary, `C` candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
import torch

from gac_app.decoding.alignment import BoundaryConflict, boundary_conflicts, merge
from gac_app.decoding.distribution import CLEARLY, TokenDistribution, rank_of, top_k
from gac_app.decoding.rules.combiner import Combiner
from gac_app.decoding.rules.sampling import Sampler
from gac_app.decoding.rules.shipped.averaging import Mean, weighted_sum
from gac_app.vocab.union import UnionVocabulary


class Mixture:
    """The combined distribution of a step; for one member, its own.

    Args:
        distributions: of the members that take part, the gate first.
        weights: summing to 1; see `Combiner.mixture_weights`.
        combiner: makes one distribution of the members'.
        union: where tokens may be contested; None = nothing merges. The probability of all tokens that begin with a
            contested one goes to that, in each member's distribution, before combining.
        mergeable_U: see `merge`; tokens that keep their probability have no say in what is contested.
    """

    def __init__(
        self,
        distributions: Mapping[str, TokenDistribution],
        weights: Mapping[str, float],
        combiner: Combiner | None = None,
        union: UnionVocabulary | None = None,
        mergeable_U: torch.Tensor | None = None,
    ) -> None:
        self.distributions = distributions
        self.weights = weights
        self._combiner = combiner or Combiner(Mean())
        self._union, self._mergeable_U = union, mergeable_U
        self._aligned_by_name: dict[str, torch.Tensor] = {}

    # --- what merges

    @cached_property
    def conflicts(self) -> list[range]:
        """The ids of each contested token and of all tokens that begin with it; none of these ranges overlap."""
        found = self._possible_conflicts()
        if found is None or not all(one.is_sure for one in found):
            for distribution in self.distributions.values():
                _ = distribution.probs_U  # asks for all of it
            found = self._possible_conflicts()
        return [one.ids for one in found or ()]

    def _possible_conflicts(self) -> list[BoundaryConflict] | None:
        if self._union is None:
            return []
        merging = {name: known.masked(self._mergeable_U) for name, known in self.distributions.items()}
        return boundary_conflicts(merging, self.weights, self._union)

    def is_conflict(self, token_id: int) -> bool:
        return any(token_id == ids.start for ids in self.conflicts)

    def given(self, token_id: int) -> Mixture:
        """For a token that need not be chosen: one that merges into a shorter one has its own probability."""
        merges = any(token_id in ids[1:] for ids in self.conflicts)
        return Mixture(self.distributions, self.weights, self._combiner) if merges else self

    # --- the choice

    def choose(self, sampler: Sampler) -> int:
        """The token that the answer's rules choose. Members are asked for more while that is uncertain.

        Raises:
            MemberError, RuleError, ConstraintError.
        """
        while not self.is_whole and self._is_bounded and not sampler.is_constrained:
            doubts: list[int] = []
            if (conflicts := self._possible_conflicts()) is not None:
                chosen, doubts = sampler.certified_choice(*self._bounds_U(conflicts))
                doubts += [own for ids, _, is_sure in conflicts if not is_sure and chosen in ids for own in ids]
                if not doubts:
                    self.conflicts = [one.ids for one in conflicts if one.is_sure]
                    return chosen
            if not (doubts and self._fetch_logprobs(doubts)) and not self._fetch_more():
                break
        if sampler.is_greedy:
            return self.argmax_id
        probs_U = self.probs_U if sampler.allowed_U() is None else self._under(sampler)
        chosen, _ = sampler.certified_choice(probs_U, probs_U)
        return chosen

    def gate_choice(self, sampler: Sampler) -> int | None:
        """What the gate alone would choose, without constraints; None where it is alone. Asks nobody: where the gate's
        distribution is not whole, it is a guess.
        """
        gate, *others = self.distributions.values()
        if not others:
            return None
        if sampler.is_greedy:
            return gate.argmax_id
        probs_U = gate.estimate.probs_U
        return sampler.certified_choice(probs_U, probs_U)[0]

    @property
    def is_whole(self) -> bool:
        """Whether all of it is known without asking."""
        return all(distribution.is_whole for distribution in self.distributions.values())

    @property
    def _is_bounded(self) -> bool:
        """Whether bounds on the members' distributions give bounds on this one."""
        return self._combiner.is_linear or len(self.distributions) == 1

    def _bounds_U(self, conflicts: list[BoundaryConflict]) -> tuple[torch.Tensor, torch.Tensor]:
        """Between these is `probs_U`."""
        weights = [self.weights[name] for name in self.distributions]
        bounds = zip(*[distribution.bounds_U for distribution in self.distributions.values()], strict=True)
        low_U, high_U = (weighted_sum([bound_U.cpu() for bound_U in side], weights) for side in bounds)
        for ids, most, is_sure in conflicts:
            if is_sure:
                merge(low_U, [ids])
                high_U[ids.start : ids.stop] = 0
            low_U[ids.start + 1 : ids.stop] = 0
            high_U[ids.start] = max(most, float(high_U[ids.start]))
        return low_U, high_U

    def _fetch_logprobs(self, ids: list[int]) -> bool:
        """Ask all members about these tokens. Returns whether more is known now."""
        asked = [d.fetch_logprobs(ids) for name, d in self.distributions.items() if self.weights[name]]
        return any(asked)

    def _fetch_more(self) -> bool:
        """Ask the member whose unseen tokens may matter most for more. Returns whether more is known now."""
        unseen = {name: self.weights[name] * d.unseen_mass for name, d in self.distributions.items()}
        ordered = sorted((name for name in unseen if unseen[name] > 0), key=unseen.__getitem__, reverse=True)
        return any(self.distributions[name].fetch_more() for name in ordered)

    def _under(self, sampler: Sampler) -> torch.Tensor:
        """What to choose from where a schema allows some tokens only. A mean may be masked before combining or after;
        any other rule sees no other tokens.
        """
        if self._combiner.is_linear:
            return self.probs_U
        return self._combiner({name: sampler.allowed(self.aligned(name)) for name in self.distributions}, self.weights)

    # --- whole distributions

    @cached_property
    def probs_U(self) -> torch.Tensor:
        if self._combiner.is_linear:  # for a mean, merging before and after are the same
            probs = {name: distribution.probs_U for name, distribution in self.distributions.items()}
            return merge(self._combiner(probs, self.weights), self.conflicts, self._mergeable_U)
        return self._combiner({name: self.aligned(name) for name in self.distributions}, self.weights)

    def aligned(self, name: str) -> torch.Tensor:
        """A member's distribution after merging into contested tokens, [U]."""
        if not self.conflicts:
            return self.distributions[name].probs_U
        if name not in self._aligned_by_name:
            probs_U = self.distributions[name].probs_U.clone()
            self._aligned_by_name[name] = merge(probs_U, self.conflicts, self._mergeable_U)
        return self._aligned_by_name[name]

    @cached_property
    def estimate(self) -> Mixture:
        """A guess where some members' distributions are not whole."""
        if self.is_whole or not self._is_bounded:
            return self
        guesses = {name: distribution.estimate for name, distribution in self.distributions.items()}
        estimate = Mixture(guesses, self.weights, self._combiner, self._union, self._mergeable_U)
        estimate.conflicts = self.conflicts
        return estimate

    # --- single values: exact ones of the candidates, and what the others have at most

    @property
    def argmax_id(self) -> int:
        """The likeliest token, the first one of equals."""
        if len(self.distributions) == 1 and self.is_whole and not self.conflicts:
            return next(iter(self.distributions.values())).argmax_id
        (best, most), *others = self._likely.items() or [(0, 0.0)]
        if most > CLEARLY * max([self._rest_upper_bound, *[prob for _, prob in others[:1]]]):
            return best
        return int(self.probs_U.argmax())

    def largest(self, k: int) -> list[tuple[int, float]]:
        """The `k` likeliest tokens with their probabilities (above 0), likeliest first, among the members' top
        tokens.
        """
        found = [pair for pair in [*self._likely.items()][:k] if pair[1] > 0]
        if found and (found[-1][1] >= self._rest_upper_bound if len(found) == k else self._rest_upper_bound == 0):
            return found
        ids = [token_id for token_id, _ in top_k(self.probs_U, k)]
        return [(token_id, prob) for token_id in ids if (prob := self.prob_of(token_id)) > 0]

    def prob_of(self, token_id: int) -> float:
        known = self._likely.get(token_id)
        return float(self.probs_U[token_id]) if known is None else known

    def prob_and_rank_of(self, name: str, token_id: int) -> tuple[float, int]:
        """A member's probability of the token, including what merges into it, and the number of tokens that it finds
        likelier, plus 1.
        """
        distribution = self.distributions[name]
        within = [ids for ids in self.conflicts if token_id in ids]
        if self._mergeable_U is not None and self.conflicts:
            prob = float(self.aligned(name)[token_id])
        elif within:
            prob = distribution.prob_within(within[0]) if token_id == within[0].start else 0.0
        else:
            prob = distribution.prob_of(token_id)
        top = distribution.top
        if self._mergeable_U is not None or prob < top[-1][1]:
            return prob, rank_of(token_id, self.aligned(name))
        for ids in self.conflicts:
            top = [pair for pair in top if pair[0] not in ids]
        known = [likely for _, likely in top] + distribution.probs_within(self.conflicts)
        return prob, 1 + len([likely for likely in known if likely > prob])

    @cached_property
    def _likely(self) -> dict[int, float]:
        """The candidates, likeliest first, the first of equals: the weighted mean, as `probs_U` is over the whole
        union, at all members' top tokens and the contested tokens, without tokens that merge into one of these; none if
        the rule is not linear. On GPUs that is one transfer for each member.
        """
        if not self._combiner.is_linear or (self._mergeable_U is not None and self.conflicts):
            return {}
        apart = {token_id for distribution in self.distributions.values() for token_id, _ in distribution.top}
        apart = apart.difference(*self.conflicts)
        ids_C = [*apart, *[ids.start for ids in self.conflicts]]
        probs_C = np.zeros(len(ids_C))
        for name, weight in self.weights.items():
            distribution = self.distributions[name]
            totals = distribution.probs_within(self.conflicts)
            probs_C += weight * np.array([*distribution.at(ids_C[: len(apart)]).tolist(), *totals])
        by_prob = sorted(zip((-probs_C).tolist(), ids_C, strict=True))
        return {token_id: -negative for negative, token_id in by_prob}

    @property
    def _rest_upper_bound(self) -> float:
        """What any token has at most that is no candidate."""
        return sum([weight * self.distributions[name].top[-1][1] for name, weight in self.weights.items()])
