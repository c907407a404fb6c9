"""A member's context: its boundaries hold what its model says there, through gates, drops, limits and replays."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gac_app.decoding.alignment.covers import Boundary
from gac_app.decoding.contexts.prefix_context import PrefixContext
from gac_app.decoding.distribution.expectation import Expectation
from gac_app.decoding.distribution.reading import Reading
from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.loop.session import Branch, DecodingSession
from gac_app.decoding.member import InlineMember
from gac_app.decoding.trace.events import FinishedEvent, FinishReason, TokenEvent
from gac_app.models.random_model import RandomModel
from tests.decoding.conftest import make
from tests.decoding.toy import toy_ensemble, toys
from tests.fakes import FakeModel, Fault, config_of, ensemble_of

SOME = hypothesis_settings(max_examples=25, deadline=None)
HOW = st.sampled_from(
    [
        {"mode": "every-step"},
        {"mode": "gate", "threshold": 0.6},
        {"mode": "gate", "threshold": 0.2},
        {"mode": "gate", "threshold": 0.6, "gate_policy": "eager"},
        {"mode": "every-step", "weights": "posterior"},
        {"mode": "every-step", "speculation": "on"},
        {"mode": "gate", "threshold": 0.6, "speculation": "on"},
    ]
)
# Where a member, spelling anew what it had read and what it missed, once held more ids than it has room for.
OVERRUN = [(0, 17, 0.3), (3, 17, 0.3), (6, 14, 0.3), (18, 17, 0.6)]
LETTERS = (b"a", b"b", b" ", b"\xc3", b"\xa9")


@pytest.fixture(autouse=True)
def top_k_is_that_of_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a context expects, its likeliest tokens, which the gate looks at, are those of its distribution."""
    expect = PrefixContext.expect

    def checked(self: PrefixContext, reading: Reading | None) -> Expectation | None:
        found = expect(self, reading)
        if found:
            ids, probs = zip(*found.row.top, strict=True)
            largest = found.row.probs_U.topk(len(ids)).values.tolist()
            assert list(probs) == found.row.probs_U[list(ids)].tolist() == largest
        return found

    monkeypatch.setattr(PrefixContext, "expect", checked)


def ids_at(boundary: Boundary) -> list[int]:
    before = ids_at(boundary.parent) if boundary.parent else []
    return [*before, *boundary.ids]


def assert_true_to_its_model(context: PrefixContext, prompt_ids: list[int], *, reads_ahead: bool) -> None:
    """Each boundary's ids are the bytes before it, its distribution is the model's after them, and is in the cache."""
    model: RandomModel = context.member._model  # type: ignore[attr-defined]
    mapping, covers = context.member.mapping, context._covers
    for cover in covers.live:
        boundary = cover.boundary
        ids = ids_at(boundary)
        assert mapping.vocabulary.decode(ids) == covers.text[: boundary.end]
        assert len(ids) == boundary.num_ids
        if cover.row is not None:
            fresh_U = mapping.project(model._logits_V(prompt_ids + ids).unsqueeze(0))[0]
            assert torch.equal(cover.row.probs_U, fresh_U)
    held, chain_ids = context._sequence.ids[len(prompt_ids) :], ids_at(context._chain[-1])
    assert held[: len(chain_ids)] == chain_ids
    assert held == chain_ids or reads_ahead  # and then there may be more, read ahead
    for num_ids, row in context._rows.items():
        fresh_U = mapping.project(model._logits_V(prompt_ids + held[:num_ids]).unsqueeze(0))[0]
        assert torch.equal(row.probs_U, fresh_U)
    assert len(context._chain) == context._chain[-1].depth + 1


def follow(session: DecodingSession) -> FinishedEvent:
    """Run a session and look into every context after every step."""
    prompts = {name: list(context._sequence.ids) for name, context in session.contexts.items()}
    written = b""
    for event in session.events():
        if isinstance(event, FinishedEvent):
            return event
        assert isinstance(event, TokenEvent)
        written += event.step.token
        for name in set(session.contexts) - set(event.step.dropped):
            context = session.contexts[name]
            assert context.written == written
            if isinstance(context, PrefixContext):
                settings = session._settings
                reads_ahead = settings.gate_policy == "eager" or settings.speculation == "on"
                assert_true_to_its_model(context, prompts[name], reads_ahead=reads_ahead)
    raise AssertionError("no end")


def session_of(ensemble: Ensemble, prompt: str, branch: Branch | None = None, **how: Any) -> DecodingSession:
    return ensemble.session(
        prompt, ensemble.config.settings_from({"max_new_tokens": 20, **how}), raw=True, branch=branch
    )


@SOME
@given(
    seeds=st.lists(st.integers(0, 50), min_size=2, max_size=4, unique=True),
    prompt=st.text(min_size=1, max_size=10),
    temperature=st.sampled_from([0.0, 1.0]),
    how=HOW,
)
def test_contexts_of_members_with_many_words_are_true(
    seeds: list[int], prompt: str, temperature: float, how: dict[str, Any]
) -> None:
    finished = follow(session_of(make(*seeds), prompt, temperature=temperature, **how))
    assert finished.reason in (FinishReason.STOP, FinishReason.LENGTH)


@SOME
@given(
    seed=st.integers(0, 1000),
    num=st.integers(2, 4),
    temperature=st.sampled_from([0.0, 1.0]),
    how=HOW,
)
def test_contexts_of_members_that_disagree_at_every_cut_are_true(
    seed: int, num: int, temperature: float, how: dict[str, Any]
) -> None:
    ensemble = toy_ensemble(toys(seed, num, LETTERS, num_words=8))
    finished = follow(session_of(ensemble, "ab é", temperature=temperature, seed=seed, **how))
    assert finished.reason in (FinishReason.STOP, FinishReason.LENGTH)


@SOME
@given(seed=st.integers(0, 1000), context_length=st.integers(10, 24), how=HOW)
def test_a_full_context_ends_the_answer_and_is_never_overrun(
    seed: int, context_length: int, how: dict[str, Any]
) -> None:
    """The toys refuse to read more than they hold."""
    ensemble = toy_ensemble(toys(seed, 3, LETTERS, num_words=8), context_length=context_length)
    finished = follow(session_of(ensemble, "ab é", temperature=1.0, seed=seed, max_new_tokens=40, **how))
    assert finished.reason in (FinishReason.STOP, FinishReason.LENGTH), finished.detail


@pytest.mark.parametrize(("seed", "context_length", "threshold"), OVERRUN)
def test_a_spelling_that_grew_longer_than_the_tokens_it_replaces_overruns_no_context(
    seed: int, context_length: int, threshold: float
) -> None:
    ensemble = toy_ensemble(toys(seed, 3, LETTERS, num_words=8), context_length=context_length)
    session = session_of(
        ensemble, "ab é", threshold=threshold, temperature=1.0, seed=seed, max_new_tokens=40, mode="gate"
    )
    finished = follow(session)
    assert (finished.reason, finished.detail[-7:]) == (FinishReason.LENGTH, "tokens)")


@SOME
@given(
    seeds=st.lists(st.integers(0, 50), min_size=3, max_size=4, unique=True),
    culprit=st.integers(0, 2),
    from_read=st.integers(0, 5),
    how=HOW,
)
def test_the_contexts_left_after_a_member_is_dropped_are_true(
    seeds: list[int], culprit: int, from_read: int, how: dict[str, Any]
) -> None:
    models = [FakeModel(f"m{seed}", seed) for seed in seeds]
    models[culprit].fault = Fault("nan", from_read)
    config = config_of([model.name for model in models], {"on_member_failure": "drop", **how})
    ensemble = ensemble_of(models, config, InlineMember)
    finished = follow(session_of(ensemble, "the model"))
    assert (finished.reason, finished.num_tokens) == (FinishReason.LENGTH, 20)


@SOME
@given(seed=st.integers(0, 1000), num_replayed=st.integers(1, 10), temperature=st.sampled_from([0.0, 1.0]), how=HOW)
def test_a_replayed_answer_leaves_contexts_true(
    seed: int, num_replayed: int, temperature: float, how: dict[str, Any]
) -> None:
    ensemble = toy_ensemble(toys(seed, 3, LETTERS, num_words=8))
    original = session_of(ensemble, "ab é", temperature=temperature, seed=seed, **how)
    steps = tuple(event.step for event in original.events() if isinstance(event, TokenEvent) and event.step.token)
    branch = Branch(steps[:num_replayed], b"a")
    finished = follow(session_of(ensemble, "ab é", branch, temperature=temperature, **how))
    assert finished.num_tokens >= min(num_replayed, len(steps)) + 1


@pytest.mark.parametrize("mode", ["every-step", "gate"])
def test_spellings_joined_are_what_each_member_has_read(mode: str) -> None:
    """Where a member reads a token otherwise, its spelling holds all bytes behind its last boundary."""
    ensemble = make(1, 2, 3)
    for seed in range(5):
        session = session_of(ensemble, "the", mode=mode, temperature=1.0, seed=seed)
        behind = dict.fromkeys(session.contexts, b"")
        for event in session.events():
            if not isinstance(event, TokenEvent) or not event.step.token:
                continue
            for name in behind:
                pieces = event.step.spellings.get(name, (event.step.token,))
                read = b"".join(pieces)
                behind[name] += event.step.token
                assert not read or behind[name].endswith(read) or read.endswith(event.step.token)
                if read:
                    behind[name] = b""
