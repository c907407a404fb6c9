"""Choosing from a distribution, against a slow obvious reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from gac_app.decoding.rules.sampling import Sampler, exponential_noise
from gac_app.settings import Settings


def reference(probs: list[float], settings: Settings) -> dict[int, float]:
    """Token -> probability after temperature, top-k, top-p, min-p, in plain Python."""
    warm = {i: p ** (1 / settings.temperature) for i, p in enumerate(probs)}
    kept = sorted(warm.items(), key=lambda item: (-item[1], item[0]))
    total = sum(p for _, p in kept)
    kept = [(i, p / total) for i, p in kept]
    if settings.top_k:
        kept = kept[: settings.top_k]
        total = sum(p for _, p in kept)
        kept = [(i, p / total) for i, p in kept]
    before, nucleus = 0.0, []
    for i, p in kept:
        if before < settings.top_p:
            nucleus.append((i, p))
        before += p
    nucleus = [(i, p) for i, p in nucleus if p >= settings.min_p * nucleus[0][1]]
    total = sum(p for _, p in nucleus)
    return {i: p / total for i, p in nucleus}


@given(
    seed=st.integers(0, 1000),
    temperature=st.sampled_from([0.5, 1.0, 2.0]),
    top_k=st.sampled_from([0, 3, 2000]),
    top_p=st.sampled_from([0.3, 0.9, 1.0]),
    min_p=st.sampled_from([0.0, 0.2]),
)
def test_filters_keep_what_a_sort_keeps(seed: int, temperature: float, top_k: int, top_p: float, min_p: float) -> None:
    probs = torch.softmax(torch.randn(5000, generator=torch.Generator().manual_seed(seed)) * 2, 0)
    settings = Settings(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    probs_C, _, ids_C = Sampler(settings)._kept(probs, probs)
    # Where a sum meets a limit to the last bit of float32, one candidate more or less may be left.
    assert len(set(ids_C.tolist()) ^ set(reference(probs.tolist(), settings))) <= 1
    assert probs_C.tolist() == pytest.approx((probs[ids_C] ** (1 / temperature)).tolist())


@given(
    seed=st.integers(0, 1000),
    temperature=st.sampled_from([0.0, 0.1, 0.2, 0.7, 1.5]),
    top_k=st.sampled_from([0, 0, 3]),
    top_p=st.sampled_from([1.0, 0.9, 0.5]),
    min_p=st.sampled_from([0.0, 0.05, 0.5]),
    num_known=st.integers(0, 5),
)
@example(seed=0, temperature=0.7, top_k=0, top_p=1.0, min_p=0.0, num_known=0)
@example(seed=381, temperature=1.5, top_k=0, top_p=0.9, min_p=0.05, num_known=1)
def test_a_sure_choice_is_that_of_all_between_its_bounds(
    seed: int, temperature: float, top_k: int, top_p: float, min_p: float, num_known: int
) -> None:
    """Of so many likeliest tokens the probability is known, of the others what is left at most."""
    probs = torch.softmax(torch.randn(40, generator=torch.Generator().manual_seed(seed)) * 2, 0)
    known = probs.topk(num_known).indices
    low, high = torch.zeros(40), (1 - probs[known].sum()).clamp(max=probs[known].min() if num_known else 1).repeat(40)
    low[known] = high[known] = probs[known]
    sampler = Sampler(Settings(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, seed=seed))
    sure, rivals = sampler.certified_choice(low, high)
    assert sampler.certified_choice(probs, probs)[0] in (rivals or [sure])


def test_random_numbers_are_exponential_and_independent() -> None:
    numbers = np.stack([exponential_noise(seed=1, position=position, ids=np.arange(2000)) for position in range(200)])
    for k in (1, 2):  # moments of Exp(1)
        assert float((numbers**k).mean()) == pytest.approx(k, rel=0.02)
    assert float((numbers > 3).mean()) == pytest.approx(np.exp(-3), rel=0.03)
    centred = numbers - 1
    for other in (centred[:, 1:] * centred[:, :-1], centred[1:] * centred[:-1]):
        assert abs(float(other.mean())) < 0.01
    some = np.array([1999, 7, 300])
    assert exponential_noise(seed=1, position=5, ids=some).tolist() == numbers[5, some].tolist()
    assert exponential_noise(seed=2, position=5, ids=some).tolist() != numbers[5, some].tolist()


def test_like_distributions_are_mostly_drawn_from_alike() -> None:
    probs = torch.tensor([0.4, 0.3, 0.2, 0.1])
    other = torch.tensor([0.3, 0.4, 0.1, 0.2])  # total variation 0.2
    pairs = [Sampler(Settings(temperature=1.0, seed=seed)) for seed in range(2000)]
    same = sum(sampler.fork().choose(other) == sampler.choose(probs) for sampler in pairs) / len(pairs)
    assert 0.8 / 1.2 <= same <= 0.8 + 0.04, "the bound of this rule, and of any"


def test_a_fork_draws_what_the_original_will() -> None:
    sampler = Sampler(Settings(temperature=1.0, repetition_penalty=1.5))
    probs = torch.softmax(torch.randn(100, generator=torch.Generator().manual_seed(0)), 0)
    sampler.choose(probs)
    fork = sampler.fork()
    ahead = [fork.choose(probs) for _ in range(20)]
    assert [sampler.choose(probs) for _ in range(20)] == ahead
    greedy, both = Sampler(Settings(repetition_penalty=3.0)), torch.tensor([0.6, 0.4])
    assert (greedy.choose(both), greedy.fork().choose(both)) == (0, 1), "what was written counts"


@pytest.mark.parametrize("how", [{"temperature": 0.01}, {"temperature": 0.05}, {"temperature": 0.01, "top_p": 1e-6}])
def test_the_lowest_temperatures_take_the_best(how: dict[str, Any]) -> None:
    probs_U = torch.full((10_000,), 1e-4)
    probs_U[4321] = 3e-4
    sampler = Sampler(Settings(**how))
    assert {sampler.choose(probs_U) for _ in range(5)} == {4321}


@given(seed=st.integers(0, 9999), spread=st.sampled_from([0.1, 1, 3, 6]), temperature=st.sampled_from([0.1, 0.7, 1, 2]))
def test_a_draw_is_that_from_all_tokens(seed: int, spread: float, temperature: float) -> None:
    """The token with the largest key of all, though most keys are not computed."""
    logits = torch.randn(20_000, generator=torch.Generator().manual_seed(seed)) * spread
    probs = torch.softmax(logits, 0)
    keys = (probs.double() ** (1 / temperature)).numpy() / exponential_noise(seed, 0, np.arange(len(probs)))
    assert Sampler(Settings(temperature=temperature, seed=seed)).choose(probs) == int(keys.argmax())
