"""From what a step decided to the `StepTrace` that is kept of it: ranks, favourites, who carried the token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from gac_app.decoding.alignment import merge
from gac_app.decoding.events import Candidate, MemberTrace, StepTrace
from gac_app.decoding.member import TOP_K
from gac_app.decoding.mixture import Mixture
from gac_app.decoding.ranking import rank_of, top_k_knowing
from gac_app.vocab.union import UnionVocabulary


@dataclass(frozen=True, slots=True)
class Decision:
    """What a step chose, and from what.

    Attributes:
        gate_confidence: None = the largest probability it gave.
        dropped: members lost so far.
        evidence: what each member gave to the token, or to its bytes where its own token may go on.
        is_open: the tokens of some members may go on beyond the one chosen.
        is_shared: all members' tokens surely end with it.
    """

    token_id: int
    mixture: Mixture
    gate_confidence: float | None = None
    dropped: tuple[str, ...] = ()
    evidence: Mapping[str, float] = field(default_factory=dict)
    is_open: bool = False
    is_shared: bool = True
    is_drafted: bool = False

    @property
    def confidence(self) -> float:
        """The gate's."""
        return self.mixture.gate.favourite(1.0).prob if self.gate_confidence is None else self.gate_confidence


def trace_of(
    decision: Decision,
    union: UnionVocabulary,
    *,
    position: int,
    spellings: dict[str, tuple[bytes, ...]],
    is_forced: bool,
) -> StepTrace:
    """Everything about a step, as values."""
    members = tuple(_member(name, decision, union) for name in decision.mixture.expected)
    top = members[0].top if len(members) == 1 else _favourites(decision.mixture.probs_U, members, union)
    return StepTrace(
        position=position,
        token_id=decision.token_id,
        token=union.token(decision.token_id),
        prob=float(decision.mixture.probs_U[decision.token_id]),
        top=top,
        gate_confidence=decision.confidence,
        is_ensembled=len(members) > 1,
        winner=max(members, key=lambda member: member.weight * member.prob).member,
        members=members,
        spellings=spellings,
        dropped=decision.dropped,
        is_open=decision.is_open,
        is_shared=decision.is_shared,
        evidence=dict(decision.evidence) if decision.is_open else {},
        is_forced=is_forced,
        is_drafted=decision.is_drafted,
    )


def _member(name: str, decision: Decision, union: UnionVocabulary) -> MemberTrace:
    mixture = decision.mixture
    expectation = mixture.expected[name]
    top = _candidates(expectation.top_probs_K, expectation.top_ids_K, union)
    probs_U = expectation.row.probs_U
    if mixture.contested:
        probs_U = merge(probs_U.clone(), mixture.contested)
    prob = float(probs_U[decision.token_id])
    is_favourite = not mixture.contested and any(candidate.token_id == decision.token_id for candidate in top)
    return MemberTrace(
        member=name,
        weight=mixture.weights[name],
        prob=prob,
        rank=1 + sum(c.prob > prob for c in top) if is_favourite else rank_of(decision.token_id, probs_U),
        top=top,
        num_read=expectation.num_read,
        seconds=expectation.seconds,
    )


def _favourites(
    probs_U: torch.Tensor, members: tuple[MemberTrace, ...], union: UnionVocabulary
) -> tuple[Candidate, ...]:
    """Of what the members chose together: mostly what they favour themselves."""
    ids = {candidate.token_id for member in members for candidate in member.top}
    return _candidates(*top_k_knowing(probs_U, min(TOP_K, len(ids)), list(ids)), union)


def _candidates(probs_K: torch.Tensor, ids_K: torch.Tensor, union: UnionVocabulary) -> tuple[Candidate, ...]:
    pairs = zip(ids_K.tolist(), probs_K.tolist(), strict=True)
    return tuple(Candidate(token_id, union.token(token_id), prob) for token_id, prob in pairs)
