"""Drafts change which pass reads what, and nothing else: every step is what it is without them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.loop.session import Branch
from gac_app.decoding.member import InlineMember
from gac_app.decoding.speculation import overlapped
from gac_app.decoding.trace.events import FinishReason, StepTrace
from gac_app.executors.threads import ThreadMember
from gac_app.models.base import Model, Read, Sequence
from gac_app.models.random_model import RandomModel
from tests.decoding.answers import EVERY_STEP, LETTERS, counted, decoded, facts
from tests.decoding.conftest import make
from tests.decoding.toy import toy_ensemble, toys
from tests.fakes import FakeModel, Fault, config_of, ensemble_of

SOME = hypothesis_settings(max_examples=30, deadline=None)
EAGER: dict[str, Any] = {"mode": "gate", "threshold": 0.5, "gate_policy": "eager", "max_new_tokens": 24}
EXACT_IDS = 2


@pytest.fixture(autouse=True)
def drafting() -> Iterator[None]:
    """Back ends in whose answers no cut into passes shows, and members of which one counts as fast enough."""
    with (
        patch.object(Model, "is_chunk_invariant", True),
        patch.object(overlapped, "_MUCH_FASTER", 0.0),
    ):
        yield


def assert_same(ensemble: Ensemble, **how: Any) -> list[StepTrace]:
    expected = facts(*decoded(ensemble, speculation="off", **how))
    steps, finished = decoded(ensemble, **how)
    assert facts(steps, finished) == expected
    return steps


@contextmanager
def marked_by_long_passes() -> Iterator[None]:
    """Let whatever ids are read by a pass of more than `EXACT_IDS` leave a mark on all that follows, as a back end's
    rounding does."""
    read_one, rewind = RandomModel._read_one, RandomModel.rewind
    marks: dict[tuple[int, int], list[tuple[int, int]]] = {}  # by model and slot: from and to which place

    def marking(self: RandomModel, read: Read) -> torch.Tensor:
        start, end = len(self._cached[read.sequence.slot]), len(read.sequence.ids)
        found = marks.setdefault((id(self), read.sequence.slot), [])
        if not start:
            found.clear()
        elif end - start > EXACT_IDS:
            found.append((start, end))
        noise = torch.Generator().manual_seed(abs(hash(tuple(found))))
        return read_one(self, read) + torch.rand(len(self.vocabulary), generator=noise) * bool(found)

    def rewinding(self: RandomModel, sequence: Sequence, length: int) -> None:
        found = marks.get((id(self), sequence.slot), [])
        found[:] = [(start, min(end, length)) for start, end in found if start < length]
        rewind(self, sequence, length)

    with patch.object(RandomModel, "_read_one", marking), patch.object(RandomModel, "rewind", rewinding):
        yield


@SOME
@given(
    seed=st.integers(0, 1000),
    num=st.integers(2, 3),
    weights=st.sampled_from(["average", "posterior"]),
    max_new_tokens=st.integers(1, 24),
    context_length=st.integers(10, 60),
    stop=st.sampled_from([(), ("a",), ("b a",)]),
)
def test_every_step_is_what_it_is_without(seed: int, num: int, context_length: int, **how: Any) -> None:
    """Of members that cut at every place otherwise, and to the last bit."""
    with marked_by_long_passes():
        assert_same(toy_ensemble(toys(seed, num, LETTERS, num_words=8), context_length), **how)


@SOME
@given(seed=st.integers(0, 1000), threshold=st.floats(0.1, 0.9))
def test_so_it_is_with_an_eager_gate(seed: int, threshold: float) -> None:
    assert_same(toy_ensemble(toys(seed, 2, LETTERS, num_words=8)), **{**EAGER, "threshold": threshold})


@pytest.mark.parametrize("how", [EVERY_STEP, EAGER], ids=["every step", "eager"])
@pytest.mark.parametrize("delays_ms", [(0, 1, 2), (5, 12, 12)], ids=str)  # ahead in time, and reading as a step begins
@pytest.mark.parametrize("seed", range(4))
def test_and_in_threads(seed: int, delays_ms: tuple[int, ...], how: dict[str, Any]) -> None:
    models = [
        FakeModel(name=name, seed=seed + i, delay_s=ms / 1000)
        for i, (name, ms) in enumerate(zip("abc", delays_ms, strict=True))
    ]
    with closing(ensemble_of(models)) as ensemble:
        assert_same(ensemble, **how)
    assert [model.num_held for model in models] == [0, 0, 0]


@SOME
@given(seed=st.integers(0, 1000), num_replayed=st.integers(0, 8))
def test_a_branch_goes_on_from_another_token(seed: int, num_replayed: int) -> None:
    ensemble = make(seed, seed + 1, sharpness=4.0)
    steps, _ = decoded(ensemble, speculation="off")
    branch = Branch(tuple(step for step in steps[:num_replayed] if step.token), b"e")
    assert_same(ensemble, branch=branch)


def twins(**slow: Any) -> list[FakeModel]:
    """Two that like the same best, one of them slow."""
    return [FakeModel(name="a", seed=5), FakeModel(name="b", seed=5, **slow)]


def test_what_was_drafted_needs_no_pass() -> None:
    """The slow one has half as many passes, over as many ids; the fast one reads nothing beyond the answer."""
    with closing(ensemble_of(twins(delay_s=0.02))) as ensemble:
        assert_same(ensemble)
        _, plain = decoded(ensemble, speculation="off")
        steps, finished = decoded(ensemble)
    fast, slow = finished.members["a"], finished.members["b"]
    assert plain.members["b"].num_forwards == len(steps)
    assert slow.num_forwards <= 0.6 * len(steps)
    assert sum(step.is_drafted for step in steps) >= len(steps) - slow.num_forwards
    assert {fast.num_tokens_read, slow.num_tokens_read} == {plain.members["a"].num_tokens_read}


def test_with_an_eager_gate_the_gate_has_read_on() -> None:
    """Others are asked at every step, and the gate would be asked only when they are done."""
    with closing(ensemble_of(twins(delay_s=0.02))) as ensemble:
        how = {**EAGER, "threshold": 1.0}
        assert_same(ensemble, **how)
        with counted() as found:
            steps, _ = decoded(ensemble, **how)
    assert len(found) >= 0.8 * len(steps)


def test_whoever_reads_along_drafts_for_a_slower_gate() -> None:
    """The gate has fewer passes, whether it is sure of itself or asks."""
    models = [FakeModel(name="a", seed=5, delay_s=0.02), FakeModel(name="b", seed=5)]
    for threshold in (0.0, 0.5, 1.0):
        how = {**EAGER, "threshold": threshold}
        with closing(ensemble_of(models)) as ensemble:
            assert_same(ensemble, **how)
            steps, finished = decoded(ensemble, **how)
        assert finished.members["a"].num_forwards <= 0.7 * len(steps)


@contextmanager
def passes_begun() -> Iterator[list[int]]:
    """The draft tokens that members began to read while others were waited for."""
    found: list[int] = []
    begin = overlapped.PrefixContext._draft_token

    def noted(self: overlapped.PrefixContext, argmax_id: int) -> Any:
        found.append(argmax_id)
        return begin(self, argmax_id)

    with patch.object(overlapped.PrefixContext, "_draft_token", noted):
        yield found


def not_exact() -> AbstractContextManager[object]:
    return patch.object(Model, "is_chunk_invariant", False)


def not_faster() -> AbstractContextManager[object]:
    return patch.object(overlapped, "_MUCH_FASTER", 1e9)


@pytest.mark.parametrize(
    "how",
    [
        {"speculation": "off"},
        {"temperature": 1.0},
        {"repetition_penalty": 1.3},
        {"alignment": "paper"},
        {"mode": "gate", "threshold": 0.5},
        {"max_new_tokens": 1},
        not_exact(),
        not_faster(),
    ],
    ids=str,
)
def test_nobody_drafts_where_that_may_show_or_cost(how: Any) -> None:
    condition = None if isinstance(how, dict) else how
    with closing(ensemble_of(twins(delay_s=0.002))) as ensemble, passes_begun() as begun:
        if condition:
            with condition:
                decoded(ensemble)
        else:
            decoded(ensemble, **how)
    assert not begun


def test_nor_where_members_compute_in_one_place() -> None:
    with closing(ensemble_of(twins(delay_s=0.002))) as ensemble, passes_begun() as begun:
        decoded(Ensemble(list(ensemble.members.values()), ensemble.config, are_apart=False))
    assert not begun


@pytest.mark.parametrize("member", [InlineMember, ThreadMember])
@pytest.mark.parametrize("faulty", ["a", "b"])
@pytest.mark.parametrize("from_read", [1, 2, 3, 5])
def test_a_pass_that_fails_ends_the_answer_and_leaves_nothing(from_read: int, faulty: str, member: Any) -> None:
    models = [
        FakeModel(name=name, seed=5, fault=Fault("raise", from_read) if name == faulty else None) for name in "ab"
    ]
    with closing(ensemble_of(models, config_of(["a", "b"]), member)) as ensemble:
        steps, finished = decoded(ensemble)
        assert finished.reason is FinishReason.ERROR
        assert len(steps) <= 2 * from_read  # a draft is a read less
    assert [model.num_held for model in models] == [0, 0]


def test_the_others_go_on_where_the_drafting_member_fails() -> None:
    models = [FakeModel(name="a", seed=5, fault=Fault("raise", 4)), *(FakeModel(name=n, seed=6) for n in "bc")]
    with closing(ensemble_of(models)) as ensemble:
        steps, finished = decoded(ensemble, on_member_failure="drop")
    assert (len(steps), finished.reason) == (24, FinishReason.LENGTH)
    assert [member.member for member in steps[-1].members] == ["b", "c"]


@pytest.mark.parametrize("num_tokens", [1, 2, 5])
def test_a_session_that_is_closed_leaves_nothing_behind(num_tokens: int) -> None:
    models = [FakeModel(name="a", seed=1, delay_s=0.004), FakeModel(name="b", seed=2, delay_s=0.01)]
    with closing(ensemble_of(models)) as ensemble:
        events = ensemble.session("the", ensemble.config.settings_from(EVERY_STEP), raw=True).events()
        for _ in range(num_tokens):
            next(events)
        events.close()
    assert [model.num_held for model in models] == [0, 0]


def test_many_answers_share_passes_with_drafts() -> None:
    models = [FakeModel(name="a", seed=1, delay_s=0.001), FakeModel(name="b", seed=2, delay_s=0.004)]
    with closing(ensemble_of(models)) as ensemble:
        expected = facts(*decoded(ensemble, speculation="off"))
        settings = ensemble.config.settings_from(EVERY_STEP)
        sessions = [ensemble.session("ab é", settings, raw=True).events() for _ in range(4)]
        answers: list[list[Any]] = [[] for _ in sessions]
        while sessions_left := [i for i, events in enumerate(sessions) if not answers[i] or answers[i][-1] is not None]:
            for i in sessions_left:
                answers[i].append(next(sessions[i], None))
    for answer in answers:
        *tokens, finished, _ = answer
        assert facts([event.step for event in tokens], finished) == expected
    assert [model.num_held for model in models] == [0, 0]
