"""A member's context expects what its model, reading all from scratch, does: through gates, drops, limits, replays."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gac_app.decoding.contexts.context import MemberContext
from gac_app.decoding.distribution.read_result import MemberStep
from gac_app.decoding.distribution.token_distribution import TokenDistribution
from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.loop.session import Branch, DecodingSession
from gac_app.decoding.member import InlineMember
from gac_app.decoding.trace.events import FinishedEvent, FinishReason, TokenEvent
from gac_app.models.random_model import RandomModel
from gac_app.models.sequence import LOCAL, ForwardRequest
from tests.decoding.answers import LETTERS
from tests.decoding.conftest import make
from tests.decoding.toy import model_of, toy_ensemble, toys

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


@pytest.fixture(autouse=True)
def top_k_is_that_of_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step's top tokens, which the gate looks at, are those of its distribution."""
    take = MemberContext.take

    def checked(self: MemberContext) -> MemberStep | None:
        found = take(self)
        if found:
            ids, probs = zip(*found.distribution.top, strict=True)
            largest = found.distribution.probs_U.topk(len(ids)).values.tolist()
            assert list(probs) == found.distribution.probs_U[list(ids)].tolist() == largest
        return found

    monkeypatch.setattr(MemberContext, "take", checked)


class Afresh(RandomModel):
    """A model without a cache and without faults: each read is of all ids, from the first on.

    Attributes:
        text: what it was last asked to read.
    """

    def __init__(self, model: RandomModel) -> None:
        super().__init__(model.name, vocabulary=model.vocabulary, context_length=model.context_length)
        self._logits_after = model._logits_V
        self.text = b""

    def forward(self, requests: list[ForwardRequest]) -> list[torch.Tensor]:
        (request,) = requests
        ids = [*request.ids]
        self.text = self.vocabulary.decode(ids)
        ends = range(len(ids) + 1 - request.num_logits, len(ids) + 1)
        return [torch.stack([self._logits_after(ids[:end]) for end in ends])]


class Twin:
    """Is fed what a context is fed, asked where that is, and reads everything from scratch; both must give the same.

    Args:
        context: of a session that has not begun.
        prompt_ids: what it was opened with.
    """

    def __init__(self, context: MemberContext, prompt_ids: list[int]) -> None:
        self._model = Afresh(context.member.model)
        plain = InlineMember(self._model, context.member.mapping)
        self._plain = MemberContext(plain, plain.open(prompt_ids, LOCAL), is_aligned=True)
        self._prompt = self._model.vocabulary.decode(prompt_ids)
        feed, take, can_skip = context.feed, context.take, context.can_skip_forward

        def feed_both(token_id: int, *, is_partial: bool = False) -> tuple[bytes, ...]:
            spelling = self._plain.feed(token_id, is_partial=is_partial)
            assert feed(token_id, is_partial=is_partial) == spelling
            return spelling

        def take_the_same() -> MemberStep | None:
            found = take()
            if found:
                self._plain.text.likely = context.text.likely
                self._compare(found.distribution)
            return found

        def skip_both() -> bool:
            self._plain.text.likely = context.text.likely
            is_settled = self._plain.can_skip_forward()
            assert can_skip() == is_settled
            return is_settled

        context.feed, context.take, context.can_skip_forward = feed_both, take_the_same, skip_both  # type: ignore[method-assign]

    def _compare(self, distribution: TokenDistribution) -> None:
        wanted = None
        while wanted is None:
            self._plain.ask()
            wanted = self._plain.take()
        assert torch.equal(distribution.probs_U, wanted.distribution.probs_U)
        assert distribution.partial_ids == wanted.distribution.partial_ids
        assert (self._prompt + self._plain.text.written).startswith(self._model.text)


def follow(session: DecodingSession, prompt: str) -> FinishedEvent:
    """Run a session, a twin beside each of its contexts."""
    for context in session.contexts.values():
        Twin(context, context.member.encode(prompt))
    written = b""
    for event in session.events():
        if isinstance(event, FinishedEvent):
            return event
        assert isinstance(event, TokenEvent)
        written += event.step.token
        for name in set(session.contexts) - set(event.step.dropped):
            assert session.contexts[name].text.written == written
    raise AssertionError("no end")


def session_of(ensemble: Ensemble, prompt: str, branch: Branch | None = None, **how: Any) -> DecodingSession:
    return ensemble.session(
        prompt, ensemble.config.settings_from({"max_new_tokens": 20, **how}), raw=True, branch=branch
    )


@pytest.mark.slow
@settings(max_examples=4 * settings().max_examples)
@given(
    seed=st.integers(0, 1000),
    num=st.integers(2, 4),
    has_words=st.booleans(),
    context_length=st.sampled_from([4096, 4096, 10, 14, 17, 24]),
    fails_at=st.sampled_from([None, None, b"ba", b"aab"]),
    num_replayed=st.sampled_from([0, 0, 1, 5, 10]),
    temperature=st.sampled_from([0.0, 1.0]),
    how=HOW,
)
def test_contexts_are_true(
    seed: int,
    num: int,
    has_words: bool,
    context_length: int,
    fails_at: bytes | None,
    num_replayed: int,
    temperature: float,
    how: dict[str, Any],
) -> None:
    """Of members with many words, or that disagree at every cut; that fail; after a replayed answer. No context is
    overrun: the toys refuse to read more than they hold.
    """
    if has_words:
        ensemble = make(*range(seed, seed + num), context_length=context_length)
    else:
        ensemble = toy_ensemble(toys(seed, num, LETTERS, num_words=8), context_length)
        model_of(ensemble, f"m{seed % num}").fails_at = fails_at
    how = {**how, "temperature": temperature, "seed": seed, "max_new_tokens": 30, "on_member_failure": "drop"}
    original = [event for event in session_of(ensemble, "ab é", **how).events() if isinstance(event, TokenEvent)]
    steps = tuple(event.step for event in original if event.step.token)[:num_replayed]
    finished = follow(session_of(ensemble, "ab é", Branch(steps, b"a") if num_replayed else None, **how), "ab é")
    assert finished.reason in (FinishReason.STOP, FinishReason.LENGTH), finished.detail


@pytest.mark.parametrize(("seed", "context_length", "threshold"), OVERRUN)
def test_a_longer_spelling_overruns_no_context(seed: int, context_length: int, threshold: float) -> None:
    ensemble = toy_ensemble(toys(seed, 3, LETTERS, num_words=8), context_length=context_length)
    session = session_of(
        ensemble, "ab é", threshold=threshold, temperature=1.0, seed=seed, max_new_tokens=40, mode="gate"
    )
    finished = follow(session, "ab é")
    assert (finished.reason, finished.detail[-7:]) == (FinishReason.LENGTH, "tokens)")


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
