"""The laws of decoding, over random members whose vocabularies differ."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac_app.decoding.member import InlineMember
from gac_app.decoding.trace.events import FinishReason, StepTrace, TokenEvent
from tests.decoding.answers import LETTERS, decoded
from tests.decoding.conftest import make
from tests.decoding.toy import toy_ensemble, toys
from tests.examples import FEW
from tests.fakes import FixedModel, ensemble_of

SEEDS = st.lists(st.integers(0, 50), min_size=1, max_size=4, unique=True)
ALIGNMENTS = st.sampled_from(["paper", "prefix"])


def tokens_of(steps: list[StepTrace]) -> list[bytes]:
    return [step.token for step in steps]


@FEW
@given(seeds=SEEDS)
def test_threshold_zero_is_the_gate_alone(seeds: list[int]) -> None:
    """Members that cannot read ahead read nothing: a pass would cost them as much as one that is asked for."""
    ensemble = make(*seeds)
    gated, finished = decoded(ensemble, mode="gate", threshold=0)
    alone, _ = decoded(ensemble, alone=f"m{seeds[0]}")
    assert tokens_of(gated) == tokens_of(alone)
    assert finished.num_ensembled == 0
    assert all(usage.num_forwards == 0 for name, usage in finished.members.items() if name != f"m{seeds[0]}")


@pytest.mark.parametrize("tokens", [(b"a", b"z"), (b"q", b"a"), (b"z", b"to", b"q"), (b" at", b" the", b"z")])
def test_of_equals_all_take_the_first(tokens: tuple[bytes, ...]) -> None:
    """In bfloat16 the two largest logits are often equal."""
    probs = dict.fromkeys(tokens, 1 / len(tokens))
    ensemble = ensemble_of([FixedModel("a", probs), FixedModel("b", probs)], member=InlineMember)
    ways: list[dict[str, object]] = [{"alone": "a"}, {"mode": "gate", "threshold": 0}, {"mode": "every-step"}]
    assert {tokens_of(decoded(ensemble, **how)[0])[0] for how in ways} == {min(tokens)}


@FEW
@given(seeds=SEEDS, alignment=ALIGNMENTS)
def test_a_threshold_above_one_is_every_step(seeds: list[int], alignment: str) -> None:
    ensemble = make(*seeds, alignment=alignment)
    gated, finished = decoded(ensemble, mode="gate", threshold=1.01)
    every, _ = decoded(ensemble, mode="every-step")
    assert tokens_of(gated) == tokens_of(every)
    num_forwards = [usage.num_forwards for usage in finished.members.values()]
    if alignment == "paper":
        assert set(num_forwards) == {len(gated)}
    else:
        assert max(num_forwards) <= len(gated)  # none where a member is inside one of its tokens


@FEW
@given(seed=st.integers(0, 50), temperature=st.sampled_from([0.0, 1.0]), alignment=ALIGNMENTS)
def test_an_ensemble_of_one_is_that_member_alone(seed: int, temperature: float, alignment: str) -> None:
    ensemble, how = make(seed), {"temperature": temperature, "alignment": alignment}
    for mode in ("gate", "every-step"):
        steps, finished = decoded(ensemble, mode=mode, **how)
        alone, _ = decoded(ensemble, alone=f"m{seed}", temperature=temperature, alignment="paper")
        assert [(s.token, s.prob, s.is_partial) for s in steps] == [(s.token, s.prob, False) for s in alone]
        assert finished.num_ensembled == 0


@FEW
@given(seeds=SEEDS, threshold=st.floats(0, 1), weights=st.tuples(*[st.floats(0.1, 9)] * 4), alignment=ALIGNMENTS)
def test_the_combined_distribution_lies_between_its_members(
    seeds: list[int], threshold: float, weights: tuple[float, ...], alignment: str
) -> None:
    ensemble = make(*seeds, alignment=alignment)
    given_weights = {f"m{seed}": weight for seed, weight in zip(seeds, weights, strict=False)}
    steps, finished = decoded(ensemble, mode="gate", threshold=threshold, weights=given_weights)
    for step in steps:
        probs = [member.prob for member in step.members]
        assert min(probs) - 1e-6 <= step.prob <= max(probs) + 1e-6
        assert sum(member.weight for member in step.members) == pytest.approx(1)
        assert step.prob == pytest.approx(sum(m.weight * m.prob for m in step.members), rel=1e-4)
        assert step.is_ensembled == (step.gate_confidence < threshold and len(seeds) > 1)
        assert len(step.members) == (len(seeds) if step.is_ensembled else 1)
        assert step.winner == max(step.members, key=lambda member: member.weight * member.prob).member
    num_ensembled = sum(step.is_ensembled for step in steps)
    others = [usage.num_forwards for name, usage in finished.members.items() if name != f"m{seeds[0]}"]
    if alignment == "paper":
        assert others == [num_ensembled] * len(others)
    else:
        assert max(others, default=0) <= num_ensembled + num_inside_characters(steps)


def num_inside_characters(steps: list[StepTrace]) -> int:
    """Steps before which a character was not complete: a member that catches up there may need a second pass."""
    texts = accumulate((step.token for step in steps[:-1]), initial=b"")
    return sum(text.decode(errors="ignore").encode() != text for text in texts)


@FEW
@given(
    seeds=SEEDS,
    prompt=st.text(max_size=20),
    temperature=st.sampled_from([0.0, 1.0]),
    how=st.sampled_from(
        [{"mode": "gate", "threshold": 0.6}, {"mode": "gate", "threshold": 0.2}, {"mode": "every-step"}]
    ),
    alignment=ALIGNMENTS,
)
def test_all_contexts_hold_the_same_bytes_after_every_step(
    seeds: list[int], prompt: str, temperature: float, how: dict[str, object], alignment: str
) -> None:
    ensemble = make(*seeds, alignment=alignment)
    settings = ensemble.config.settings_from({"max_new_tokens": 16, "temperature": temperature, **how})
    session = ensemble.session(prompt + "x", settings, raw=True)
    written = b""
    for event in session.events():
        if isinstance(event, TokenEvent):
            written += event.step.token
            assert all(context.text.written == written for context in session.contexts.values())


def test_member_order_changes_nothing_every_step() -> None:
    forward, _ = decoded(make(1, 2, 3), mode="every-step")
    backward, _ = decoded(make(3, 2, 1), mode="every-step")
    assert tokens_of(forward) == tokens_of(backward)


def test_end_finishes_and_is_a_step_without_text() -> None:
    for seed in range(200):
        steps, finished = decoded(make(seed), max_new_tokens=60)
        if finished.reason is FinishReason.STOP:
            assert steps[-1].token == b""
            assert all(step.token for step in steps[:-1])
            return
    pytest.fail("no random member ever ended its text")


def test_a_full_context_finishes_with_the_member_named() -> None:
    ensemble = make(1, 2, context_length=24)
    _, finished = decoded(ensemble, mode="gate", max_new_tokens=500)
    assert finished.reason is FinishReason.LENGTH
    assert "24" in finished.detail
    assert "m1" in finished.detail or "m2" in finished.detail


@pytest.mark.parametrize(("seed", "length", "threshold"), [(0, 17, 0.3), (3, 17, 0.3), (6, 14, 0.3), (18, 17, 0.6)])
def test_a_longer_spelling_overruns_no_context(seed: int, length: int, threshold: float) -> None:
    """Of a member that spells anew what it had read and what it missed; the toys refuse to read more than they hold."""
    how = {"mode": "gate", "threshold": threshold, "temperature": 1.0, "seed": seed, "max_new_tokens": 40}
    _, finished = decoded(toy_ensemble(toys(seed, 3, LETTERS, num_words=8), length), **how)
    assert (finished.reason, finished.detail[-7:]) == (FinishReason.LENGTH, "tokens)")
