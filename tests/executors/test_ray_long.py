"""The default pair on two nodes of a Ray cluster on this machine, beside the same in threads."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.trace import FinishedEvent
from gac_app.environment import read_config
from gac_app.loading import load_ensemble
from tests.executors.ray_nodes import two_nodes

pytestmark = [pytest.mark.long, pytest.mark.real]

PROMPTS = [
    "Name three colours.",
    "Write a Python function that adds two numbers.",
    "Was ist die Hauptstadt von Frankreich?",
    "What is 12 times 13? Think step by step.",
]
ROUNDS = 4


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with two_nodes() as cluster:
        yield cluster


@pytest.mark.parametrize("mode", ["every-step", "gate"])
def test_the_default_pair_answers_the_same_nearly_as_fast(cluster: Any, mode: str) -> None:
    config = read_config(None, os.environ)
    members = tuple(member.model_copy(update={"num_threads": 1}) for member in config.members)
    settings = config.settings_from({"mode": mode, "max_new_tokens": 48})
    config = config.model_copy(update={"members": members, "settings": settings})
    with ExitStack() as opened:
        near = opened.enter_context(closing(load_ensemble(config)))
        far = opened.enter_context(closing(load_ensemble(config.run_by("ray", cluster.address))))
        more = []
        for _ in range(ROUNDS):
            for prompt in PROMPTS:
                here, there = answer(near, prompt), answer(far, prompt)
                assert there.digest == here.digest
                more.append((pace_ms(there), pace_ms(here)))
    later = more[len(PROMPTS) :]  # the first round reads the prompts
    in_threads, differences = statistics.median(here for _, here in later), [there - here for there, here in later]
    low, middle, high = statistics.quantiles(differences)
    print(f"\n{mode}: {in_threads:.1f} ms a token in threads; on Ray {middle:+.2f} ({low:+.2f} to {high:+.2f})")


def answer(ensemble: Ensemble, prompt: str) -> FinishedEvent:
    *_, end = ensemble.generate(prompt, ensemble.config.settings)
    assert isinstance(end, FinishedEvent)
    return end


def pace_ms(end: FinishedEvent) -> float:
    return 1000 / end.tokens_per_s
