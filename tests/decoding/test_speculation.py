"""Prompt lookup drafts what the text repeats. How far is drafted, and whether at all, follows what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac_app.decoding.speculation import speculator
from gac_app.decoding.speculation.draft_costs import best_length, pays
from gac_app.decoding.speculation.lookup import PromptLookup
from gac_app.decoding.speculation.speculator import _slowest_s
from gac_app.models.base import Model
from gac_app.models.pass_costs import PassCosts
from tests.decoding.answers import decoded, facts
from tests.decoding.conftest import make
from tests.fakes import Parrot, config_of, ensemble_of


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    """Back ends in whose answers no cut into passes shows, and no member fast enough to draft."""
    with patch.object(Model, "is_chunk_invariant", True), patch.object(speculator, "_MUCH_FASTER", 1e9):
        yield


def guess(prompt: str, answer: str = "", most: int = 7) -> str:
    """Of a text whose tokens are letters; "-" is no text."""
    lookup = PromptLookup(np.array([-1 if letter == "-" else ord(letter) for letter in prompt], dtype=np.int32))
    for letter in answer:
        lookup.propose(most)
        lookup.note(ord(letter))
    return "".join(chr(token.token_id) for token in lookup.propose(most))


@pytest.mark.parametrize(
    ("prompt", "answer", "expected"),
    [
        ("abcdef", "ab", "cdefabc"),
        ("abcdef", "xb", ""),
        ("abcabd", "ab", "dabdabd"),
        ("xabcyabd", "xab", "cyabdxa"),
        ("ab-cd", "ab", ""),
        ("", "ababa", "bababab"),
        ("ab", "", ""),
        ("", "a", ""),
        ("", "", ""),
    ],
    ids=["prompt", "one is no match", "the last", "the longest", "no text", "the answer", "once", "short", "nothing"],
)
def test_what_followed_the_last_tokens_is_guessed(prompt: str, answer: str, expected: str) -> None:
    assert guess(prompt, answer) == expected


@given(text=st.text("ab", min_size=1, max_size=5))
def test_an_answer_of_any_length_is_looked_up(text: str) -> None:
    """Of a repeated text, five tokens tell where in it they are."""
    long = 2000 * text
    assert guess("", long[:1100], most=3) == long[1100:1103]


def test_acceptance_is_learnt() -> None:
    lookup = PromptLookup(np.array([1, 2, 3, 1, 2], dtype=np.int32))
    [before] = lookup.propose(1)
    for token_id in range(10, 40):
        lookup.propose(1)
        lookup.note(token_id)
        for again in (1, 2):
            lookup.note(again)
    assert lookup.propose(1)[0].confidence < 0.1 < before.confidence


HOW: list[dict[str, Any]] = [{}, {"mode": "gate", "threshold": 0.5, "gate_policy": "eager"}]


@pytest.mark.parametrize("how", HOW, ids=["every step", "gate"])
def test_an_answer_that_repeats_itself_takes_fewer_passes(how: dict[str, Any]) -> None:
    models = [Parrot(name=name, seed=5) for name in "ab"]
    how = {**how, "max_new_tokens": 300}
    with closing(ensemble_of(models, config_of(["a", "b"]))) as ensemble:
        expected = facts(*decoded(ensemble, speculation="off", **how))
        with patch.object(speculator, "best_length", lambda confidences, _: len(confidences)):
            steps, finished = decoded(ensemble, **how)
    assert facts(steps, finished) == expected
    assert finished.members["a"].num_forwards < 0.5 * len(steps)
    assert sum(step.is_drafted for step in steps) > 0.5 * len(steps)
    assert all(step.drafted_by == () for step in steps if step.is_drafted)


def test_while_others_use_a_member_nothing_is_looked_up() -> None:
    models = [Parrot(name=name, seed=5) for name in "ab"]
    with (
        closing(ensemble_of(models, config_of(["a", "b"]))) as ensemble,
        patch.object(speculator, "best_length", lambda confidences, _: len(confidences)),
    ):
        other = ensemble.session("x", ensemble.config.settings_from({"max_new_tokens": 20}), raw=True).events()
        next(other)
        steps, _ = decoded(ensemble, max_new_tokens=300)
        other.close()
    assert not any(step.is_drafted for step in steps)


# --- what is measured


@pytest.mark.parametrize(("survival", "does_pay"), [(0.1, False), (0.66, False), (0.67, True), (0.99, True)])
def test_a_longer_draft_pays_if_it_is_likely_enough(survival: float, does_pay: bool) -> None:
    """Two thirds of a token at 30 ms are 20 ms, which the longer pass takes more."""
    assert pays(0.06, 0.08, survival, 2.0) is does_pay


@pytest.mark.parametrize(
    ("seconds", "confidences", "expected"),
    [
        ({}, [1.0], 0),
        ({1: 50.0}, [0.9, 0.9], 1),
        ({1: 50.0, 2: 55.0}, [0.9, 0.9, 0.9], 2),
        ({1: 50.0, 2: 55.0, 3: 75.0}, [0.9, 0.9], 2),
        ({1: 50.0, 2: 55.0, 3: 100.0}, [0.9, 0.9], 1),
        ({1: 50.0, 2: 55.0}, [0.09], 0),
        ({1: 50.0, 2: 55.0}, [0.11], 1),
        ({1: 50.0, 2: 110.0}, [0.99], 0),
    ],
)
def test_a_text_drafts_the_length_that_pays(seconds: dict[int, float], confidences: list[float], expected: int) -> None:
    """Of 50 a token alone; 55 / 1.9, then 75 / 2.71 or 100 / 2.71. A length that is not known is tried, one by one."""
    ensemble = make(1, 2)
    contexts = list(ensemble.session("the", ensemble.config.settings, raw=True).contexts.values())
    for num_ids, each in seconds.items():
        for _ in range(2):
            contexts[1].member.model.costs.note(num_ids, each)
    assert best_length(confidences, partial(_slowest_s, contexts)) == expected


def test_the_fastest_pass_of_a_size_counts_once_two_are_known() -> None:
    """Other load only slows passes down."""
    costs = PassCosts()
    costs.note(2, 26)
    assert costs.seconds(2) == 0
    for seconds in (25, 1000):
        costs.note(2, seconds)
        assert costs.seconds(2) == 25
    assert costs.gain(2, 2) == 0, "nothing is known of single ids"
