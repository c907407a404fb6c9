"""A long prompt that is read in chunks, between whatever else a member reads, is not late while it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

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


def test_each_member_may_take_as_long_as_its_prompt(steady_clock: None) -> None:
    """The one that is waited for last has read all the while, but much less than the first."""
    models = [FakeModel(name, 1, delay_s=CHUNK_S * factor) for name, factor in (("a", 1), ("b", 3))]
    for model in models:
        model.chunk_size = 4
    config = config_of(["a", "b"], {"mode": "every-step", "max_new_tokens": 2, "step_timeout_s": TIMEOUT_S})
    with closing(ensemble_of(models, config)) as ensemble:
        *_, finished = ensemble.generate(PROMPT, raw=True)
    assert isinstance(finished, FinishedEvent)
    assert finished.reason is FinishReason.LENGTH, finished.detail


def test_who_waits_for_the_same_prompt_of_another_is_not_late(ensemble: Ensemble) -> None:
    first, second = (ensemble.generate(PROMPT, raw=True, namespace="talk") for _ in range(2))
    with ThreadPoolExecutor(2) as pool:
        ends = [pool.submit(lambda events: list(events)[-1], events) for events in (first, second)]
    assert {end.result().reason for end in ends} == {FinishReason.LENGTH}  # type: ignore[union-attr]


def test_a_prompt_that_does_not_go_on_is_late(ensemble: Ensemble) -> None:
    ensemble.members["a"].model.delay_s = 3 * TIMEOUT_S  # type: ignore[attr-defined]
    *_, finished = ensemble.generate(PROMPT, raw=True)
    assert isinstance(finished, FinishedEvent)
    assert "no answer in time" in finished.detail
    with pytest.raises(MemberError, match="no answer in time"):
        ensemble.score(PROMPT, ["yes"], raw=True)
