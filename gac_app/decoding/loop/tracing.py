"""From a step to its `StepTrace`: ranks, top tokens, the member that carried the token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gac_app.decoding.distribution import MemberStep, Top
from gac_app.decoding.loop.mixture import Mixture
from gac_app.decoding.rules.gate import GateDecision
from gac_app.decoding.rules.sampling import Sampler
from gac_app.decoding.trace import Candidate, MemberTrace, StepTrace
from gac_app.vocab.union import UnionVocabulary

TOP_K = 8  # tokens shown of a distribution


@dataclass(frozen=True, slots=True)
class StepView:
    """What a step chooses from.

    Attributes:
        asked: the steps of the members asked, the gate first.
        mixture: of those that take part.
    """

    asked: dict[str, MemberStep]
    gate: GateDecision
    mixture: Mixture

    @property
    def is_ensembled(self) -> bool:
        """Whether several members decide, or one drawn to stand for all."""
        return len(self.mixture.distributions) > 1 or bool(self.gate.drawn)


def trace_of(
    view: StepView,
    *,
    token_id: int,
    position: int,
    union: UnionVocabulary,
    gates_sampler: Sampler | None = None,
    **fed: Any,
) -> StepTrace:
    """The trace of a step.

    Args:
        gates_sampler: as it was before the token, for what the gate alone would have chosen, which is drawn here, while
            the next reads are under way; None = that is not told.
        fed: the other fields of `StepTrace`.
    """
    mixture = view.mixture.estimate
    members = tuple([_member(name, view, token_id, union) for name in mixture.distributions])
    top = members[0].top if len(members) == 1 else _candidates(mixture.largest(TOP_K), union)
    confidence = view.gate.confidence
    gate_choice = view.mixture.gate_choice(gates_sampler) if gates_sampler else None
    return StepTrace(
        position=position,
        token_id=token_id,
        token=union.token(token_id),
        prob=mixture.prob_of(token_id),
        top=top,
        gate_confidence=members[0].top[0].prob if confidence is None else confidence,
        is_ensembled=view.is_ensembled,
        winner=max(members, key=lambda member: member.weight * member.prob).member,
        members=members,
        drawn=view.gate.drawn,
        gate_choice=None if gate_choice is None else union.token(gate_choice),
        **fed,
    )


def _member(name: str, view: StepView, token_id: int, union: UnionVocabulary) -> MemberTrace:
    mixture, step = view.mixture.estimate, view.asked[name]
    distribution = mixture.distributions[name]
    prob, rank = mixture.prob_and_rank_of(name, token_id)
    return MemberTrace(
        member=name,
        weight=mixture.weights[name],
        prob=prob,
        rank=rank,
        top=_candidates(distribution.top_k(TOP_K), union),
        num_read=step.num_read,
        seconds=step.seconds,
        num_told=distribution.num_told,
        missing=distribution.missing,
    )


def _candidates(top: Top, union: UnionVocabulary) -> tuple[Candidate, ...]:
    return tuple([Candidate(token_id, union.token(token_id), prob) for token_id, prob in top])
