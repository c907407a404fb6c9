"""The trace of a step, all of it."""

from __future__ import annotations

import pytest
import torch

from gac_app.decoding.distribution import MemberStep
from gac_app.decoding.distribution.token_distribution import TokenDistribution
from gac_app.decoding.loop.mixture import Mixture
from gac_app.decoding.loop.tracing import Decision, trace_of
from gac_app.decoding.rules.gate import GateDecision
from gac_app.decoding.trace import Candidate, MemberTrace, StepTrace
from gac_app.vocab.union import UnionVocabulary

UNION = UnionVocabulary([b"a", b"b", b"c"])
ONE = MemberStep(TokenDistribution(torch.tensor([0.5, 0.25, 0.0, 0.25])), num_read=3, seconds=0.5)
OTHER = MemberStep(TokenDistribution(torch.tensor([0.25, 0.75, 0.0, 0.0])), num_read=1, seconds=0.25)
TOP_OF_ONE = (Candidate(0, b"a", 0.5), Candidate(1, b"b", 0.25), Candidate(3, b"", 0.25))
TOP_OF_OTHER = (Candidate(1, b"b", 0.75), Candidate(0, b"a", 0.25))


def test_a_step_of_two_members() -> None:
    mixture = Mixture({"one": ONE, "other": OTHER}, {"one": 0.75, "other": 0.25})
    decision = Decision(
        0,
        mixture,
        GateDecision(is_open=True, confidence=0.375),
        spellings={"other": (b"a", b"b")},
        dropped=("third",),
        evidence={"one": 0.5},
        is_shared=False,
        is_drafted=True,
        drafted_by=("one",),
    )
    assert trace_of(decision, UNION, 7) == StepTrace(
        position=7,
        token_id=0,
        token=b"a",
        prob=0.4375,
        top=(Candidate(0, b"a", 0.4375), Candidate(1, b"b", 0.375), Candidate(3, b"", 0.1875)),
        gate_confidence=0.375,
        is_ensembled=True,
        winner="one",
        members=(
            MemberTrace("one", 0.75, 0.5, 1, TOP_OF_ONE, 3, 0.5),
            MemberTrace("other", 0.25, 0.25, 2, TOP_OF_OTHER, 1, 0.25),
        ),
        spellings={"other": (b"a", b"b")},
        dropped=("third",),
        is_shared=False,
        is_drafted=True,
        drafted_by=("one",),
    )


def test_evidence_is_kept_of_a_partial_token_alone() -> None:
    mixture = Mixture({"one": ONE, "other": OTHER}, {"one": 0.5, "other": 0.5})
    evidence = {"one": 0.75, "other": 0.25}
    for is_partial in (True, False):
        decision = Decision(1, mixture, GateDecision(True), evidence=evidence, is_partial=is_partial, is_forced=True)
        step = trace_of(decision, UNION, 0)
        assert (step.is_partial, step.evidence, step.is_forced) == (is_partial, evidence if is_partial else {}, True)
        assert (step.winner, step.gate_confidence) == ("other", 0.5)


@pytest.mark.parametrize(("drawn", "is_ensembled"), [("", False), ("other", True)])
def test_a_step_of_one_member(drawn: str, is_ensembled: bool) -> None:
    step = trace_of(Decision(1, Mixture({"other": OTHER}, {"other": 1.0}), GateDecision(True, None, drawn)), UNION, 0)
    assert (step.drawn, step.is_ensembled, step.winner) == (drawn, is_ensembled, "other")
    assert (step.gate_confidence, step.prob, step.top) == (0.75, 0.75, TOP_OF_OTHER)
    assert step.members == (MemberTrace("other", 1.0, 0.75, 1, TOP_OF_OTHER, 1, 0.25),)
