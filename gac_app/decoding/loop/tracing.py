"""From a step's decision to its `StepTrace`: ranks, top tokens, the member that carried the token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gac_app.decoding.loop.mixture import Mixture
from gac_app.decoding.rules.gate import GateDecision
from gac_app.decoding.trace import Candidate, MemberTrace, StepTrace
from gac_app.vocab.union import UnionVocabulary

TOP_K = 8  # tokens shown of a distribution


@dataclass(frozen=True, slots=True)
class Decision:
    """What a step chose, and from what.

    Attributes:
        spellings, dropped, evidence, is_partial, is_shared, is_drafted, drafted_by, is_forced: see `StepTrace`.
    """

    token_id: int
    mixture: Mixture
    gate: GateDecision
    spellings: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    evidence: Mapping[str, float] = field(default_factory=dict)
    is_partial: bool = False
    is_shared: bool = True
    is_drafted: bool = False
    drafted_by: tuple[str, ...] | None = None
    is_forced: bool = False

    @property
    def is_ensembled(self) -> bool:
        """Whether several members decided, or one drawn to stand for all."""
        return len(self.mixture.member_steps) > 1 or bool(self.gate.drawn)


def trace_of(decision: Decision, union: UnionVocabulary, position: int) -> StepTrace:
    """The trace of a step."""
    mixture, gate = decision.mixture.estimate, decision.gate
    members = tuple(_member(name, decision, union) for name in mixture.member_steps)
    top = members[0].top if len(members) == 1 else _candidates(mixture.largest(TOP_K), union)
    return StepTrace(
        position=position,
        token_id=decision.token_id,
        token=union.token(decision.token_id),
        prob=mixture.prob_of(decision.token_id),
        top=top,
        gate_confidence=mixture.gate.distribution.top[0][1] if gate.confidence is None else gate.confidence,
        is_ensembled=decision.is_ensembled,
        winner=max(members, key=lambda member: member.weight * member.prob).member,
        members=members,
        spellings=decision.spellings,
        dropped=decision.dropped,
        is_partial=decision.is_partial,
        is_shared=decision.is_shared,
        evidence=dict(decision.evidence) if decision.is_partial else {},
        is_forced=decision.is_forced,
        is_drafted=decision.is_drafted,
        drafted_by=decision.drafted_by,
        drawn=gate.drawn,
    )


def _member(name: str, decision: Decision, union: UnionVocabulary) -> MemberTrace:
    mixture, given = decision.mixture.estimate, decision.mixture.member_steps[name].distribution
    member_step = mixture.member_steps[name]
    return MemberTrace(
        member=name,
        weight=mixture.weights[name],
        prob=mixture.member_prob_of(name, decision.token_id),
        rank=mixture.member_rank_of(name, decision.token_id),
        top=_candidates(member_step.distribution.top_k(TOP_K), union),
        num_read=member_step.num_read,
        seconds=member_step.seconds,
        num_told=given.num_told,
        missing=given.missing,
    )


def _candidates(top: list[tuple[int, float]], union: UnionVocabulary) -> tuple[Candidate, ...]:
    return tuple(Candidate(token_id, union.token(token_id), prob) for token_id, prob in top)
