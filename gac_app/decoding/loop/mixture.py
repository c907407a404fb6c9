"""The combined distribution of a step, computed on first access.

Two things save computing or asking for a whole distribution. They have nothing to do with each other:

- `_likely`, if the rule is linear: the members' top-k mostly suffice for the choice and the trace of a step (see
  `TopKBounds`). `probs_U` is computed for sampling, for other rules, and where the top-k leave a doubt.
- `bounds_U`, where a server told only a member's likeliest tokens: its distribution has bounds, and so has the mixture.
  `proof.sure_choice` chooses from them, and asks the server for more by `know` and `widen`.

Shape suffix: `U` the union vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Sequence as SequenceOf
from functools import cached_property

import torch

from gac_app.decoding.alignment import MaybeContested, merge
from gac_app.decoding.distribution import MemberStep, TopKBounds, rank_of, top_k
from gac_app.decoding.rules.combiner import Combiner, weighted_mean
from gac_app.decoding.rules.shipped.averaging import Mean


class Mixture:
    """The combined distribution of a step; for one member, its own.

    Args:
        member_steps: of the members that take part, the gate first.
        weights: summing to 1; for a linear rule, its shares.
        combiner: makes one distribution of the members'.
        contested: the ids of each contested token and of all tokens that begin with it. Their probability goes to the
            contested token, in each member's distribution, before combining. No ranges overlap. Or what finds them,
            on first access.
        mergeable_U: see `merge`.
    """

    def __init__(
        self,
        member_steps: Mapping[str, MemberStep],
        weights: Mapping[str, float],
        combiner: Combiner | None = None,
        contested: list[range] | Callable[[], list[range]] = list,
        mergeable_U: torch.Tensor | None = None,
    ) -> None:
        self.member_steps = member_steps
        self.weights = weights
        self._find_contested, self._mergeable_U = contested, mergeable_U
        self._aligned_by_name: dict[str, torch.Tensor] = {}
        self._combiner = combiner or Combiner(Mean())

    @cached_property
    def _contested(self) -> list[range]:
        return self._find_contested() if callable(self._find_contested) else self._find_contested

    @cached_property
    def probs_U(self) -> torch.Tensor:
        if self._combiner.is_linear:  # for a mean, merging before and after are the same
            probs = {name: member_step.distribution.probs_U for name, member_step in self.member_steps.items()}
            return merge(self._combiner(probs, self.weights), self._contested, self._mergeable_U)
        return self._combiner({name: self.aligned(name) for name in self.member_steps}, self.weights)

    def under(self, allowed: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """What to choose from where a constraint allows some tokens only. A mean may be masked before combining or
        after; any other rule sees no other tokens.

        Args:
            allowed: masks a member's distribution.
        """
        if self._combiner.is_linear:
            return self.probs_U
        return self._combiner({name: allowed(self.aligned(name)) for name in self.member_steps}, self.weights)

    # --- what is known without asking for more

    @property
    def is_bounded(self) -> bool:
        """Whether some members' distributions are not whole, and bounds on theirs give bounds on this one."""
        is_whole = all(given.distribution.is_whole for given in self.member_steps.values())
        return not is_whole and (self._combiner.is_linear or len(self.member_steps) == 1)

    def bounds_U(self, contested: SequenceOf[MaybeContested]) -> tuple[torch.Tensor, torch.Tensor]:
        """Between these is `probs_U`."""
        bounds = {name: given.distribution.bounds_U for name, given in self.member_steps.items()}
        low_U, high_U = (
            weighted_mean({name: pair[at].cpu() for name, pair in bounds.items()}, self.weights) for at in (0, 1)
        )
        for ids, most, is_sure in contested:
            if is_sure:
                merge(low_U, [ids])
                high_U[ids.start : ids.stop] = 0
            low_U[ids.start + 1 : ids.stop] = 0
            high_U[ids.start] = max(most, float(high_U[ids.start]))
        return low_U, high_U

    def settle(self, contested: list[range]) -> None:
        """The contested tokens are known now."""
        self._contested = contested

    def know(self, ids: list[int]) -> bool:
        """Ask all members about these tokens. Returns whether more is known now. Raises MemberError."""
        asked = [given.distribution.know(ids) for name, given in self.member_steps.items() if self.weights[name]]
        return any(asked)

    def widen(self) -> bool:
        """Ask the member whose unknown tokens may matter most for more of them. Returns whether more are known now.

        Raises:
            MemberError: its server fails.
        """
        doubts = [(self.weights[name] * given.distribution.doubt, name) for name, given in self.member_steps.items()]
        ordered = sorted((pair for pair in doubts if pair[0] > 0), reverse=True)
        return any(self.member_steps[name].distribution.widen() for _, name in ordered)

    @cached_property
    def estimate(self) -> Mixture:
        """A guess where some members' distributions are not whole."""
        steps = {name: s._replace(distribution=s.distribution.estimate) for name, s in self.member_steps.items()}
        estimate = Mixture(steps, self.weights, self._combiner, self._contested, self._mergeable_U)
        return estimate if self.is_bounded else self

    # ---

    @property
    def gate(self) -> MemberStep:
        return next(iter(self.member_steps.values()))

    @property
    def argmax_id(self) -> int:
        """The likeliest token, the first one of equals."""
        known = self._likely.argmax_id if self._likely else None
        return int(self.probs_U.argmax()) if known is None else known

    def is_contested(self, token_id: int) -> bool:
        return any(token_id == ids.start for ids in self._contested)

    def prob_of(self, token_id: int) -> float:
        known = self._likely.prob_of(token_id) if self._likely else None
        return float(self.probs_U[token_id]) if known is None else known

    def largest(self, k: int) -> list[tuple[int, float]]:
        """The `k` likeliest tokens with their probabilities (above 0), likeliest first, among the members' top
        tokens.
        """
        k = min(k, len(self._top_ids))
        known = self._likely.largest(k) if self._likely else None
        if known is None:
            ids = [token_id for token_id, _ in top_k(self.probs_U, k)]
            known = [(token_id, prob) for token_id in ids if (prob := self.prob_of(token_id)) > 0]
        return known

    def member_prob_of(self, name: str, token_id: int) -> float:
        """A member's probability of the token, including what merges into it."""
        known = self._likely_of[name].prob_of(token_id) if self._are_all_merged else None
        if known is None and not self._contested:
            return self.member_steps[name].distribution.prob_of(token_id)
        return float(self.aligned(name)[token_id]) if known is None else known

    def member_rank_of(self, name: str, token_id: int) -> int:
        """The number of tokens that the member finds likelier, plus 1."""
        known = self._likely_of[name].rank_of(token_id) if self._are_all_merged else None
        if known is None and not self._contested:
            return self.member_steps[name].distribution.rank_of(token_id)
        return rank_of(token_id, self.aligned(name)) if known is None else known

    def aligned(self, name: str) -> torch.Tensor:
        """A member's distribution after merging into contested tokens, [U]."""
        if name not in self._aligned_by_name:
            probs_U = self.member_steps[name].distribution.probs_U
            ranges, mergeable_U = self._contested, self._mergeable_U
            self._aligned_by_name[name] = merge(probs_U.clone(), ranges, mergeable_U) if ranges else probs_U
        return self._aligned_by_name[name]

    @property
    def _are_all_merged(self) -> bool:
        """Whether all that begins with a contested token has merged into it, so that the top-k tell what they tell."""
        return self._mergeable_U is None or not self._contested

    @cached_property
    def _likely(self) -> TopKBounds | None:
        """The mixture's probabilities of the candidates; None if the rule is not linear."""
        if not (self._combiner.is_linear and self._are_all_merged):
            return None
        probs, most_beside = dict.fromkeys(self._candidates, 0.0), 0.0
        for name, weight in self.weights.items():
            for token_id, prob in self._likely_of[name].probs.items():
                probs[token_id] += weight * prob
            most_beside += weight * self._likely_of[name].most_beside
        return TopKBounds(probs, most_beside)

    @cached_property
    def _likely_of(self) -> dict[str, TopKBounds]:
        """Each member's probabilities of the candidates. On GPUs that is one transfer for each member; otherwise whole
        vocabularies would go between them, and each number of the trace would be a transfer.
        """
        found: dict[str, TopKBounds] = {}
        for name, member_step in self.member_steps.items():
            distribution = member_step.distribution
            probs = dict(zip(self._candidates, distribution.at(self._candidates).tolist(), strict=True))
            cuts = zip(self._contested, distribution.cuts(self._contested), strict=True)
            probs.update({token_ids.start: total for token_ids, (_, total) in cuts})
            found[name] = TopKBounds(probs, distribution.top[-1][1])
        return found

    @cached_property
    def _top_ids(self) -> set[int]:
        return {token_id for member_step in self.member_steps.values() for token_id, _ in member_step.distribution.top}

    @cached_property
    def _candidates(self) -> list[int]:
        """Ascending ids: all members' top tokens and the contested tokens, without tokens that merge into one of
        these.
        """
        apart = {
            token_id for token_id in self._top_ids if not any(token_id in contested for contested in self._contested)
        }
        return sorted(apart | {contested.start for contested in self._contested})
