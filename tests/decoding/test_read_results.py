"""A result outlives its logits; what gives no numbers is told of."""

from __future__ import annotations

from contextlib import closing

import pytest
import torch

from gac_app.decoding.distribution import ReadResult, distributions_of
from gac_app.decoding.trace.events import FinishedEvent, FinishReason
from tests.fakes import FakeModel, Fault, config_of, ensemble_of, mapping_of, probs_of


def test_a_result_is_as_it_was_when_it_was_read() -> None:
    mapping = mapping_of(FakeModel())
    logits_NV = torch.randn(1, len(mapping.vocabulary), generator=torch.Generator().manual_seed(1))
    expected_NU = mapping.project(logits_NV.clone())
    result = ReadResult(distributions_of(mapping, logits_NV), 1)
    logits_NV.fill_(torch.nan)  # a back end's buffer is soon overwritten
    assert torch.equal(probs_of(result), expected_NU)
    assert result.distributions[0].argmax_id == int(expected_NU[0].argmax())


def test_every_position_counts() -> None:
    mapping = mapping_of(FakeModel())
    logits_NV = torch.zeros(2, len(mapping.vocabulary))
    logits_NV[0, 0] = torch.nan
    assert not ReadResult(distributions_of(mapping, logits_NV), 2).is_finite


@pytest.mark.parametrize("kind", ["nan", "inf"])
def test_a_member_alone_that_gives_no_numbers_is_told_of(kind: str) -> None:
    model = FakeModel(fault=Fault(kind, marker=b"model"))  # type: ignore[arg-type]
    with closing(ensemble_of([model], config_of([model.name]))) as ensemble:
        *_, finished = ensemble.generate("the model", raw=True)
    assert isinstance(finished, FinishedEvent)
    assert (finished.reason, finished.num_tokens) == (FinishReason.ERROR, 0)
    assert "not finite" in finished.detail
