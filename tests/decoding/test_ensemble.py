"""What a session refuses, and branches."""

from __future__ import annotations

import math

import pytest
import torch

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.member import InlineMember
from gac_app.decoding.trace.events import FinishReason
from gac_app.vocab.mapping import VocabMapping
from gac_app.vocab.union import UnionVocabulary
from tests.decoding.conftest import make
from tests.fakes import FixedModel, config_of


@pytest.mark.parametrize(("keeps", "text", "prob"), [(False, "aaaa", 0.8), (True, "", 0.6)])
def test_a_control_token_that_is_kept_ends_the_answer(keeps: bool, text: str, prob: float) -> None:
    model = FixedModel("m", {b"a": 0.4, b"": 0.1})
    control = 257
    assert model.vocabulary.token_bytes[control] is None
    assert control not in model.vocabulary.end_ids
    model._logits[control] = math.log(0.5)
    union = UnionVocabulary.build([model.vocabulary])
    members = [InlineMember(model, VocabMapping(model.vocabulary, union, keeps_control=keeps))]
    *steps, end = Ensemble(members, config_of(["m"], {"max_new_tokens": 4})).generate("the", raw=True)
    assert end.text == text
    assert steps[0].step.prob == pytest.approx(prob)
    assert end.reason is (FinishReason.STOP if keeps else FinishReason.LENGTH)


def test_a_step_sets_torchs_threads_once_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    ensemble = make(1, 2)
    settings = ensemble.config.settings.model_copy(update={"mode": "every-step", "max_new_tokens": 5})
    num_threads, told = [3], list[int]()

    def note(num: int) -> None:
        num_threads[0] = num
        told.append(num)

    monkeypatch.setattr(torch, "get_num_threads", lambda: num_threads[0])
    monkeypatch.setattr(torch, "set_num_threads", note)
    list(ensemble.generate("the", settings, raw=True))
    assert told == [1, 3] * 5
