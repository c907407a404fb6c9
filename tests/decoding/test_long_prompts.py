"""A long prompt that is read in chunks, between whatever else a member reads, is not late while it goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.trace.events import FinishedEvent, FinishReason
from gac_app.errors import MemberError
from tests.fakes import FakeModel, config_of, ensemble_of

PROMPT = "the model votes again and again, " * 3
CHUNK_S, TIMEOUT_S = 0.06, 0.6  # the prompt takes twice as long


@pytest.fixture
def ensemble(steady_clock: None) -> Iterator[Ensemble]:
    model = FakeModel("a", 1, delay_s=CHUNK_S)
    model.chunk_size = 4
    ensemble = ensemble_of([model], config_of(["a"], {"max_new_tokens": 2, "step_timeout_s": TIMEOUT_S}))
    yield ensemble
    ensemble.close()


def test_an_answer_begins_after_however_long_a_prompt(ensemble: Ensemble) -> None:
    *_, finished = ensemble.generate(PROMPT, raw=True)
    assert isinstance(finished, FinishedEvent)
    assert finished.reason is FinishReason.LENGTH, finished.detail
    assert finished.ttft_s > TIMEOUT_S


def test_a_text_is_scored_after_however_long_a_prompt(ensemble: Ensemble) -> None:
    [score] = ensemble.score(PROMPT, ["yes"], raw=True)
    assert score.num_bytes == 3


def test_a_prompt_that_does_not_go_on_is_late(ensemble: Ensemble) -> None:
    ensemble.members["a"].model.delay_s = 3 * TIMEOUT_S  # type: ignore[attr-defined]
    *_, finished = ensemble.generate(PROMPT, raw=True)
    assert isinstance(finished, FinishedEvent)
    assert "no answer in time" in finished.detail
    with pytest.raises(MemberError, match="no answer in time"):
        ensemble.score(PROMPT, ["yes"], raw=True)
