"""A rule by which one member, drawn with its share, stands for all: the mean's distribution for one pass a token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.member import InlineMember
from gac_app.decoding.rules import draws_one
from gac_app.decoding.rules.sampling import Sampler, exponential_noise
from gac_app.decoding.trace.events import FinishReason
from gac_app.executors.threads import ThreadMember
from gac_app.settings import Settings
from tests.decoding.answers import decoded
from tests.fakes import FakeModel, Fault, FixedModel, ensemble_of

PLAIN: dict[str, Any] = {"temperature": 1.0, "alignment": "paper", "combine": "random-member"}
answer = partial(decoded, **PLAIN)
PROBS_A = {b" the": 0.7, b"e": 0.2, b"t": 0.1}
PROBS_B = {b" the": 0.3, b"e": 0.1, b"t": 0.6}


@pytest.fixture(params=[InlineMember, ThreadMember])
def fakes(request: pytest.FixtureRequest) -> Iterator[Ensemble]:
    with closing(ensemble_of([FakeModel(n, seed) for seed, n in enumerate("abc")], member=request.param)) as ensemble:
        yield ensemble


def chi_squared(counts: Counter[Any], shares: dict[Any, float]) -> float:
    total = counts.total()
    return sum((counts[key] - share * total) ** 2 / (share * total) for key, share in shares.items())


def test_tokens_and_members_have_the_distribution_of_the_mean() -> None:
    """Member by token as the weights and each member's probabilities say, so the tokens as their mean says."""
    models = [FixedModel("a", PROBS_A), FixedModel("b", PROBS_B)]
    ensemble = ensemble_of(models, member=InlineMember)
    steps, _ = answer(ensemble, weights={"a": 1, "b": 3}, seed=11, max_new_tokens=1000)
    joint = {(name, token): share * probs[token]
             for name, share, probs in (("a", 0.25, PROBS_A), ("b", 0.75, PROBS_B)) for token in probs}  # fmt: skip
    assert chi_squared(Counter((step.drawn, step.token) for step in steps), joint) < 20.5, "less likely than 1 in 1,000"
    mean = {token: 0.25 * PROBS_A[token] + 0.75 * PROBS_B[token] for token in PROBS_A}
    assert chi_squared(Counter(step.token for step in steps), mean) < 13.8, "less likely than 1 in 1,000"
    assert chi_squared(Counter(pairwise(step.drawn for step in steps)),
                       {(one, two): {"a": 0.25, "b": 0.75}[one] * {"a": 0.25, "b": 0.75}[two]
                        for one in "ab" for two in "ab"}) < 16.3  # fmt: skip


def test_a_draw_by_hand() -> None:
    """The member whose share, divided by its exponential number, is the largest."""
    luck_a, luck_b = exponential_noise(7, 0, np.array([-1, -2]))
    sampler, even = Sampler(Settings(temperature=1.0, seed=7)), luck_a / (luck_a + luck_b)
    for share, name in ((even + 0.01, "a"), (even - 0.01, "b")):
        assert sampler.sample_member({"a": share, "b": 1 - share}) == name


def test_a_token_takes_one_pass_of_one_member(fakes: Ensemble) -> None:
    steps, finished = answer(fakes, max_new_tokens=40)
    assert [step.drawn for step in steps] == [member.member for step in steps for member in step.members]
    drawn = Counter(step.drawn for step in steps)
    assert len(drawn) == 3
    assert {name: usage.num_forwards for name, usage in finished.members.items()} == drawn
    num_ids = {name: usage.num_tokens_read for name, usage in finished.members.items()}
    assert all(num_ids[name] > number for name, number in drawn.items()), "each has caught up on what others wrote"
    assert finished.num_ensembled == len(steps)


def test_the_gate_decides_alone_where_it_is_sure(fakes: Ensemble) -> None:
    """Where it is not, whoever is drawn decides, which may be the gate."""
    steps, finished = answer(fakes, mode="gate", gate_policy="lazy", threshold=0.3, max_new_tokens=60)
    closed = [step for step in steps if step.gate_confidence >= 0.3]
    assert {(step.drawn, step.is_ensembled, step.winner) for step in closed} == {("", False, "a")}
    opened = [step for step in steps if step.gate_confidence < 0.3]
    assert {step.drawn for step in opened} == set("abc")
    assert all(step.is_ensembled and step.winner == step.drawn for step in opened)
    for name in "bc":
        assert finished.members[name].num_forwards == sum(step.drawn == name for step in steps)
    plain, _ = answer(fakes, mode="gate", threshold=0.0)
    assert not any(step.drawn for step in plain)


@pytest.mark.parametrize(
    "how",
    [{"temperature": 0.7}, {"temperature": 0.0}, {"top_k": 5}, {"top_p": 0.9}, {"min_p": 0.1}, {"alignment": "prefix"},
     {"repetition_penalty": 1.1}, {"weights": "posterior"}, {"weights": "entropy"}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("fakes", [InlineMember], indirect=True)
def test_where_the_distribution_would_change_it_is_the_mean(fakes: Ensemble, how: dict[str, Any]) -> None:
    steps, finished = answer(fakes, **how)
    _, mean = answer(fakes, **how, combine="mean")
    assert not any(step.drawn for step in steps)
    assert finished.digest == mean.digest
    assert not draws_one(fakes.config.settings_from({**PLAIN, **how}))


@pytest.mark.parametrize("how", [{}, {"mode": "gate", "threshold": 0.9}], ids=["every step", "gate"])
@pytest.mark.parametrize("faulty", ["a", "b"])
def test_another_is_drawn_where_the_drawn_one_is_lost(faulty: str, how: dict[str, Any]) -> None:
    models = [FakeModel(n, seed, Fault("nan", 2) if n == faulty else None) for seed, n in enumerate("abc")]
    with closing(ensemble_of(models, member=InlineMember)) as ensemble:
        steps, finished = answer(ensemble, on_member_failure="drop", **how)
    assert (finished.reason, steps[-1].dropped) == (FinishReason.LENGTH, (faulty,))
    assert faulty not in {step.drawn for step in steps if step.dropped}
    assert [model.num_held for model in models] == [0, 0, 0]
