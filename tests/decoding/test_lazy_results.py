"""A member alone drafts its argmax token before its distribution is put into the union; nothing else changes."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
import torch

from gac_app.decoding.distribution.read_result import MayDraft, ReadResult
from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.member import InlineMember
from gac_app.decoding.trace.events import FinishedEvent, FinishReason, StepTrace, TokenEvent
from gac_app.models.base import Read
from gac_app.vocab.mapping import FloatV, VocabMapping
from gac_app.vocab.union import UnionVocabulary
from tests.decoding.conftest import make
from tests.fakes import FakeModel, Fault, config_of, ensemble_of, mapping_of


def steps_alone(ensemble: Ensemble, **how: Any) -> list[StepTrace]:
    settings = ensemble.config.settings_from({"max_new_tokens": 12, **how})
    events = ensemble.generate("the model", settings, alone=next(iter(ensemble.members)), raw=True)
    return [event.step for event in events if isinstance(event, TokenEvent)]


def facts(steps: list[StepTrace]) -> list[Any]:
    return [
        (s.token, s.prob, s.top, s.gate_confidence, [(m.weight, m.prob, m.rank, m.top) for m in s.members])
        for s in steps
    ]


@pytest.mark.parametrize("how", [{}, {"temperature": 1.0}, {"repetition_penalty": 1.3}, {"alignment": "prefix"}])
@pytest.mark.parametrize("seed", range(6))
def test_steps_are_the_same_lazy_or_not(seed: int, how: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    lazy = steps_alone(make(seed, seed + 1), **how)
    monkeypatch.setattr(VocabMapping, "likeliest", lambda self, logits_V: None)
    assert facts(steps_alone(make(seed, seed + 1), **how)) == facts(lazy)
    assert len(lazy) > 1


def test_the_next_pass_begins_before_the_softmax() -> None:
    order: list[str] = []

    class Model(FakeModel):
        def read(self, reads: list[Read]) -> list[torch.Tensor]:
            order.append("pass")
            return super().read(reads)

    class Mapping(VocabMapping):
        def likeliest(self, logits_V: FloatV) -> int:
            return int(self.spread(super().own_probs(logits_V)).argmax())

        def own_probs(self, logits_V: FloatV) -> FloatV:
            order.append("softmax")
            return super().own_probs(logits_V)

    model = Model()
    mapping = Mapping(model.vocabulary, UnionVocabulary.build([model.vocabulary]))
    steps = steps_alone(Ensemble([InlineMember(model, mapping)], config_of([model.name])), max_new_tokens=4)
    assert order[:2] == ["pass", "pass"]
    assert order.count("pass") == order.count("softmax") == len(steps)


def test_a_lazy_reading_is_as_it_was_when_it_was_read() -> None:
    model = FakeModel()
    mapping = mapping_of(model)
    logits_NV = torch.randn(1, len(mapping.vocabulary), generator=torch.Generator().manual_seed(1))
    expected_NU = mapping.project(logits_NV)
    lazy, now = ReadResult(mapping, logits_NV, 1, MayDraft(is_on=True)), ReadResult(mapping, logits_NV, 1)
    logits_NV.fill_(torch.nan)  # a back end's buffer is soon overwritten
    assert torch.equal(lazy.probs_NU, expected_NU)
    assert torch.equal(now.probs_NU, expected_NU)
    assert lazy.draft_id == now.draft_id == int(expected_NU[0].argmax())
    assert lazy.again(1).distributions[0].top == now.distributions[0].top
    assert lazy.again(1).num_read == 0


def test_one_of_several_positions_is_not_lazy() -> None:
    mapping = mapping_of(FakeModel())
    logits_NV = torch.zeros(2, len(mapping.vocabulary))
    logits_NV[0, 0] = torch.nan
    assert not ReadResult(mapping, logits_NV, 2, MayDraft(is_on=True)).is_finite


@pytest.mark.parametrize("kind", ["nan", "inf"])
def test_a_member_alone_that_gives_no_numbers_is_told_of(kind: str) -> None:
    model = FakeModel(fault=Fault(kind, marker=b"model"))  # type: ignore[arg-type]
    with closing(ensemble_of([model], config_of([model.name]))) as ensemble:
        *_, finished = ensemble.generate("the model", raw=True)
    assert isinstance(finished, FinishedEvent)
    assert (finished.reason, finished.num_tokens) == (FinishReason.ERROR, 0)
    assert "not finite" in finished.detail
