"""Prompt lookup drafts what the text repeats, where that pays, and changes no step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gac_app.decoding.member import InlineMember
from gac_app.decoding.speculation import overlapped
from gac_app.decoding.speculation.draft_costs import DraftCosts
from gac_app.decoding.speculation.lookup import PromptLookup
from gac_app.models.base import Model
from tests.decoding.answers import LETTERS, decoded, facts
from tests.decoding.toy import toy_ensemble, toys
from tests.fakes import FakeModel, config_of, ensemble_of


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    """Back ends in whose answers no cut into passes shows, and no member fast enough to draft."""
    with patch.object(Model, "is_chunk_invariant", True), patch.object(overlapped, "_MUCH_FASTER", 1e9):
        yield


def guess(prompt: str, answer: str = "", most: int = 7) -> str:
    """Of a text whose tokens are letters; "-" is no text."""
    lookup = PromptLookup(np.array([-1 if letter == "-" else ord(letter) for letter in prompt], dtype=np.int32))
    for letter in answer:
        lookup.guess(most)
        lookup.add(ord(letter))
    return "".join(map(chr, lookup.guess(most)[0]))


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
    [before] = lookup.guess(1)[1]
    for token_id in range(10, 40):
        assert lookup.guess(1)[0]
        lookup.add(token_id)
        for again in (1, 2):
            lookup.add(again)
    assert lookup.guess(1)[1][0] < 0.1 < before


def costs_of(seconds: dict[int, float]) -> DraftCosts:
    costs = DraftCosts()
    for num_ids, each in seconds.items():
        for _ in range(3):
            costs.note_verifying(num_ids, each)
    return costs


@pytest.mark.parametrize(
    ("seconds", "acceptances", "expected"),
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
def test_a_draft_has_the_length_that_pays(seconds: dict[int, float], acceptances: list[float], expected: int) -> None:
    """Of 50 a token alone; 55 / 1.9, then 75 / 2.71 or 100 / 2.71."""
    assert costs_of(seconds).best_length(acceptances) == expected


HOW: list[dict[str, Any]] = [
    {},
    {"temperature": 0.3, "seed": 3},
    {"repetition_penalty": 1.1},
    {"mode": "gate", "threshold": 0.5, "gate_policy": "eager"},
    {"mode": "gate", "threshold": 0.5, "gate_policy": "auto", "temperature": 0.5},
]


@pytest.mark.slow
@example(  # the draft fits where members' tokens end otherwise than it is cut
    seed=1,
    num=3,
    how={"repetition_penalty": 1.1},
    max_new_tokens=24,
    context_length=26,
    length=3,
    is_drafting=False,
)
@given(
    seed=st.integers(0, 1000),
    num=st.integers(2, 3),
    how=st.sampled_from(HOW),
    max_new_tokens=st.integers(1, 60),
    context_length=st.integers(10, 90),
    length=st.integers(1, 7),
    is_drafting=st.booleans(),
)
def test_every_step_is_what_it_is_without(
    seed: int, num: int, how: dict[str, Any], context_length: int, length: int, is_drafting: bool, max_new_tokens: int
) -> None:
    """Of members that cut at every place otherwise, to the last bit, whatever seems to pay."""
    ensemble = toy_ensemble(toys(seed, num, LETTERS, num_words=8), context_length)
    how = {**how, "max_new_tokens": max_new_tokens}
    expected = facts(*decoded(ensemble, speculation="off", **how))
    with (
        patch.object(DraftCosts, "best_length", lambda _, acceptances: min(length, len(acceptances))),
        patch.object(InlineMember, "is_free_for", lambda *_: True),
        patch.object(overlapped, "_MUCH_FASTER", 0.0 if is_drafting else 1e9),
    ):
        assert facts(*decoded(ensemble, **how)) == expected


class Parrot(FakeModel):
    """Says a sentence again and again, whatever it reads."""

    def _logits_V(self, ids: list[int]) -> Any:
        return super()._logits_V(ids[-2:])


@pytest.mark.parametrize("how", HOW[:1] + HOW[3:4], ids=["every step", "gate"])
def test_an_answer_that_repeats_itself_takes_fewer_passes(how: dict[str, Any]) -> None:
    models = [Parrot(name=name, seed=5) for name in "ab"]
    how = {**how, "max_new_tokens": 300}
    with closing(ensemble_of(models, config_of(["a", "b"]))) as ensemble:
        expected = facts(*decoded(ensemble, speculation="off", **how))
        with patch.object(DraftCosts, "best_length", lambda _, acceptances: len(acceptances)):
            steps, finished = decoded(ensemble, **how)
    assert facts(steps, finished) == expected
    assert finished.members["a"].num_forwards < 0.5 * len(steps)
    assert sum(step.is_drafted for step in steps) > 0.5 * len(steps)
    assert all(step.drafted_by == () for step in steps if step.is_drafted)


def test_while_others_use_a_member_nothing_is_looked_up() -> None:
    models = [Parrot(name=name, seed=5) for name in "ab"]
    with (
        closing(ensemble_of(models, config_of(["a", "b"]))) as ensemble,
        patch.object(DraftCosts, "best_length", lambda _, acceptances: len(acceptances)),
    ):
        other = ensemble.session("x", ensemble.config.settings_from({"max_new_tokens": 20}), raw=True).events()
        next(other)
        steps, _ = decoded(ensemble, max_new_tokens=100)
        other.close()
    assert not any(step.is_drafted for step in steps)
