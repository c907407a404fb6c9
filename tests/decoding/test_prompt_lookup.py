"""Prompt lookup drafts what the text repeats, where that pays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac_app.decoding.speculation import speculator
from gac_app.decoding.speculation.lookup import PromptLookup
from gac_app.models.base import Model
from tests.decoding.answers import decoded, facts
from tests.fakes import FakeModel, config_of, ensemble_of


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    """Back ends in whose answers no cut into passes shows, and no member fast enough to draft."""
    with patch.object(Model, "is_chunk_invariant", True), patch.object(speculator, "_MUCH_FASTER", 1e9):
        yield


def guess(prompt: str, answer: str = "", most: int = 7) -> str:
    """Of a text whose tokens are letters; "-" is no text."""
    lookup = PromptLookup(np.array([-1 if letter == "-" else ord(letter) for letter in prompt], dtype=np.int32))
    for letter in answer:
        lookup.propose([], most)
        lookup.note(ord(letter))
    return "".join(chr(token.token_id) for token in lookup.propose([], most))


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
    [before] = lookup.propose([], 1)
    for token_id in range(10, 40):
        assert not lookup.propose([before], 1), "one draft at a time; the guess is compared all the same"
        lookup.note(token_id)
        for again in (1, 2):
            lookup.note(again)
    assert lookup.propose([], 1)[0].confidence < 0.1 < before.confidence


HOW: list[dict[str, Any]] = [{}, {"mode": "gate", "threshold": 0.5, "gate_policy": "eager"}]


class Parrot(FakeModel):
    """Says a sentence again and again, whatever it reads."""

    def _logits_V(self, ids: list[int]) -> Any:
        return super()._logits_V(ids[-2:])


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
