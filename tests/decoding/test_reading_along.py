"""Members that are not asked read along with the gate, and long prompts in chunks: nothing but the waiting changes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
import torch

from gac_app.decoding.contexts.context import MemberContext
from gac_app.decoding.distribution.read_result import ReadResult
from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.member import InlineMember
from gac_app.decoding.trace.events import FinishReason
from gac_app.errors import MemberError
from gac_app.executors.threads import ThreadMember
from gac_app.models.sequence import LOCAL, ForwardRequest
from gac_app.settings import Settings
from tests.decoding.answers import decoded
from tests.fakes import WAIT_S, FakeModel, Fault, after, config_of, ensemble_of, in_worker, mapping_of, steps_and_end

ALIGNMENTS = ["paper", "prefix"]
ASKED_RARELY: dict[str, Any] = {"mode": "gate", "threshold": 0.3, "max_new_tokens": 24}
NEVER_ASKED: dict[str, Any] = {**ASKED_RARELY, "threshold": 0.0}


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_every_pass_is_counted(alignment: str) -> None:
    models = [FakeModel("a", 1), FakeModel("b", 2)]
    ensemble = ensemble_of(models, config_of(["a", "b"], {**ASKED_RARELY, "gate_policy": "eager"}), InlineMember)
    _, finished = decoded(ensemble, prompt="the model", **ASKED_RARELY, alignment=alignment)
    counted = {name: usage.num_forwards for name, usage in finished.members.items()}
    assert {model.name: len(model.batches) for model in models} == counted
    assert finished.members["b"].num_forwards > finished.num_tokens * 0.8 > finished.num_ensembled  # it has read along


class Patient(FakeModel):
    """A step of it takes a while until the other hangs."""

    def __init__(self, other: FakeModel) -> None:
        super().__init__("a", 1)
        self.other = other

    def _read_one(self, request: ForwardRequest) -> torch.Tensor:
        if request.start:
            self.other.is_hanging.wait(0.5)
        return super()._read_one(request)


def test_a_pass_that_nobody_waits_for_delays_nobody() -> None:
    other = FakeModel("b", 2, Fault("hang", from_read=1))
    models = Patient(other), other
    config = config_of(["a", "b"], {**NEVER_ASKED, "step_timeout_s": WAIT_S, "gate_policy": "eager"})
    with closing(ensemble_of(models, config)) as ensemble:
        steps, finished = decoded(ensemble, prompt="the model", **NEVER_ASKED)
        other.released.set()
    assert other.is_hanging.is_set()
    assert (len(steps), finished.reason) == (24, FinishReason.LENGTH)
    assert finished.members["b"].num_forwards == 2
    assert finished.members["b"].num_tokens_read > 2


@pytest.fixture
def pair() -> Iterator[Ensemble]:
    with closing(ensemble_of([FakeModel("a", 1), FakeModel("b", 2)])) as ensemble:
        yield ensemble


class Alone:
    """An answer whose second member nobody ever asks, event by event."""

    def __init__(self, ensemble: Ensemble) -> None:
        settings = ensemble.config.settings_from({**NEVER_ASKED, "gate_policy": "auto", "max_new_tokens": 1000})
        self.events = ensemble.session("the model", settings, raw=True).events()
        member = ensemble.members["b"]
        assert isinstance(member, ThreadMember)
        self.member = member

    def num_passes(self) -> int:
        """Of the second member in the next five steps."""
        num_before = self._num_passes_so_far()
        for _ in range(5):
            next(self.events)
        return self._num_passes_so_far() - num_before

    def _num_passes_so_far(self) -> int:
        """Once the member has read whatever it was told to."""
        while not in_worker(self.member, lambda: self.member._scheduler.is_idle):
            pass
        model = self.member.model
        assert isinstance(model, FakeModel)
        return len(model.batches)


def test_a_member_reads_along_and_drafts_only_while_alone(pair: Ensemble) -> None:
    assert Settings().gate_policy == "auto"
    answer = Alone(pair)
    answer.num_passes()
    [sequence] = list(answer.member._opened)
    assert sequence.is_awaited
    other = answer.member.open(answer.member.encode("another"), LOCAL)
    answer.member.read(after(other)).result(WAIT_S)
    assert 0 < answer.num_passes() <= 5, "without drafts"
    assert not sequence.is_awaited
    answer.member.free(other)
    answer.num_passes()
    assert sequence.is_awaited
    answer.events.close()


def test_members_in_one_place_do_not_read_along(pair: Ensemble) -> None:
    answer = Alone(Ensemble(list(pair.members.values()), pair.config, devices_disjoint=False))
    assert answer.num_passes() == 0
    answer.events.close()


class Unheard(InlineMember):
    """Has read before anybody can look, and never says so."""

    def read(self, request: ForwardRequest) -> Future[ReadResult]:
        super().read(request)
        under_way: Future[ReadResult] = Future()
        under_way.set_running_or_notify_cancel()
        return under_way


def test_a_read_that_is_asked_for_is_awaited(pair: Ensemble) -> None:
    member = pair.members["a"]
    context = MemberContext(member, member.open(member.encode("the model"), LOCAL))
    context.reads.sequence.is_awaited = False
    context.ask()
    assert context.reads.sequence.is_awaited
    context.close()


@pytest.mark.parametrize("is_aligned", [False, True])
def test_a_pass_under_way_at_the_end_counts_what_it_reads(is_aligned: bool) -> None:
    model = FakeModel()
    member = Unheard(model, mapping_of(model))
    context = MemberContext(member, member.open(model.encode_raw("the model"), LOCAL), is_aligned=is_aligned)
    context.prefetch()
    context.close()
    assert (context.usage.num_forwards, context.usage.num_tokens_read) == (1, len(model.encode_raw("the model")))


PROMPT = "the model votes again and again, " * 3
CHUNK_S, TIMEOUT_S = 0.06, 0.6  # the prompt takes twice as long


@pytest.fixture
def ensemble(steady_clock: None) -> Iterator[Ensemble]:
    model = FakeModel("a", 1, delay_s=CHUNK_S)
    model.chunk_size = 4
    ensemble = ensemble_of([model], config_of(["a"], {"max_new_tokens": 2, "step_timeout_s": TIMEOUT_S}))
    yield ensemble
    ensemble.close()


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
        _, finished = steps_and_end(ensemble.generate(PROMPT, raw=True))
    assert finished.reason is FinishReason.LENGTH, finished.detail
    assert finished.ttft_s > TIMEOUT_S


def test_who_waits_for_the_same_prompt_of_another_is_not_late(ensemble: Ensemble) -> None:
    first, second = (ensemble.generate(PROMPT, raw=True, namespace="talk") for _ in range(2))
    with ThreadPoolExecutor(2) as pool:
        ends = pool.map(steps_and_end, (first, second))
    assert {end.reason for _, end in ends} == {FinishReason.LENGTH}


def test_a_prompt_that_does_not_go_on_is_late(ensemble: Ensemble) -> None:
    ensemble.members["a"].model.delay_s = 3 * TIMEOUT_S  # type: ignore[attr-defined]
    _, finished = steps_and_end(ensemble.generate(PROMPT, raw=True))
    assert "no answer in time" in finished.detail
    with pytest.raises(MemberError, match="no answer in time"):
        ensemble.score(PROMPT, ["yes"], raw=True)
