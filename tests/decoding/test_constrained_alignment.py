"""What is chosen under constraints, against a brute force over byte strings: a forbidden token decides nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac_app.decoding.alignment import covers as covers_module
from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.member import InlineMember
from gac_app.models.random_model import RandomModel
from gac_app.vocab.mapping import VocabMapping
from gac_app.vocab.union import UnionVocabulary
from tests.decoding.toy import END, Toy, ToyModel, tokenisations
from tests.fakes import config_of, ensemble_of, steps_and_end
from tests.told_member import ToldMember

pytest.importorskip("llguidance")

DIGITS = (b"1", b"2")
PROMPT = b"1"
Probs = dict[bytes, float]


@dataclass
class Constraints:
    """The texts that may be written, with the prompt, and the biases of tokens."""

    texts: list[bytes]
    bias: dict[bytes, float]

    def fits(self, text: bytes) -> bool:
        return any(whole.startswith(text) for whole in self.texts)

    def may_follow(self, text: bytes, piece: bytes) -> bool:
        return self.fits(text + piece) if piece else text in self.texts

    def chosen(self, text: bytes, probs: Probs) -> bytes | None:
        """The likeliest piece. None = all are impossible, or two are nearly as likely."""
        wanted = [piece for piece, bias in self.bias.items() if bias >= 100 and probs.get(piece, 0.0) > 0]
        weights = {
            piece: prob * (1 if wanted else math.exp(self.bias.get(piece, 0.0)))
            for piece, prob in probs.items()
            if self.may_follow(text, piece) and (piece in wanted if wanted else self.bias.get(piece, 0.0) > -100)
        }
        ordered = sorted(weights.items(), key=lambda pair: -pair[1])
        next_most = max(1e-9, *(weight for _, weight in ordered[1:]), 0.0)
        return ordered[0][0] if ordered and ordered[0][1] > 1.001 * next_most else None


@dataclass
class Reader:
    """A member, as a distribution over byte strings. Its tokens may end where pieces ended, and must where `closed`."""

    toy: Toy
    start: int = len(PROMPT)  # nothing before is in doubt
    ends: set[int] = field(default_factory=set)
    closed: set[int] = field(default_factory=set)
    evidence: float = 1.0

    def said(self, text: bytes, union: UnionVocabulary, constraints: Constraints) -> tuple[Probs, Probs]:
        """Of the next piece, and the part of each that belongs to longer strings. A token that has begun, and that the
        constraints forbid, was never begun."""
        probs: Probs = {}
        partial: Probs = {}
        for boundaries, left_over, prob in tokenisations(self.toy, text, self.closed, self.start):
            if not set(boundaries) <= self.ends or not constraints.fits(text + (left_over or b"")):
                continue
            for string, share in (self.toy.probs(text) if left_over is None else {left_over: 1.0}).items():
                piece = string and union.tokens[union.longest(string)]
                probs[piece] = probs.get(piece, 0.0) + prob * share
                if piece != string:
                    partial[piece] = partial.get(piece, 0.0) + prob * share
        total = sum(probs.values())
        return tuple({piece: prob / total for piece, prob in found.items()} for found in (probs, partial))  # type: ignore[return-value]


def answer(toys: list[Toy], union: UnionVocabulary, constraints: Constraints) -> Iterator[tuple[bytes, float]]:
    """The pieces of a greedy answer of equal weights (docs/alignment.md), and the mean of what members give to each."""
    text, members = PROMPT, [Reader(toy) for toy in toys]
    while True:
        said = [member.said(text, union, constraints) for member in members]
        allowed = [({p: q for p, q in probs.items() if constraints.may_follow(text, p)}, part) for probs, part in said]
        apart = {piece for piece, bias in constraints.bias.items() if bias}
        merging = [({p: q for p, q in probs.items() if p not in apart}, part) for probs, part in allowed]
        weights = [member.evidence / sum(other.evidence for other in members) for member in members]
        mean: Probs = {}
        for (probs, _), weight in zip(allowed, weights, strict=True):
            for piece, prob in probs.items():
                mean[piece] = mean.get(piece, 0.0) + weight * prob
        contested: list[bytes] = []
        for piece in union.tokens:  # in order, so that the shorter ones come first
            is_inside = any(piece.startswith(other) for other in contested)
            if not is_inside and piece not in apart and is_conflict(piece, merging, weights, union):
                contested.append(piece)
        for piece in contested:
            inside = {p for p in mean if p.startswith(piece) and p not in apart}
            mean[piece] = sum(mean.pop(p) for p in inside)
        chosen = constraints.chosen(text, mean)
        if chosen is not None:
            yield chosen, mean[chosen]
        if not chosen:
            return
        are_shared, evidence = True, []
        for member, (probs, part) in zip(members, allowed, strict=True):
            begun = sum(prob for piece, prob in probs.items() if piece.startswith(chosen))
            ends = probs.get(chosen, 0.0) - part.get(chosen, 0.0)
            is_longer = sum(token.startswith(chosen) for token in union.tokens) > 1
            goes_on = chosen in contested or chosen in part or (is_longer and ends <= 0.1 * begun)
            evidence.append(begun if goes_on else probs.get(chosen, 0.0))
            are_shared = are_shared and (not goes_on or ends >= 0.9 * begun)
            member.ends.add(len(text + chosen))
            if not goes_on:
                member.closed.add(len(text + chosen))
            if evidence[-1] <= 0:  # it could not have written this piece: it goes on from its own spelling
                member.start = len(text + chosen)
        for member, prob in zip(members, evidence, strict=True):
            member.evidence = 1.0 if are_shared else member.evidence * max(prob, max(evidence) * 1e-6)
        text += chosen


def is_conflict(piece: bytes, said: list[tuple[Probs, Probs]], weights: list[float], union: UnionVocabulary) -> bool:
    likely = {p for probs, _ in said for p in sorted(probs, key=lambda p: -probs[p])[:8] if probs[p] >= 0.001}
    if piece not in likely.union(*(part for _, part in said)) or not any(
        token.startswith(piece) and token != piece for token in union.tokens
    ):
        return False
    begun = [sum(prob for p, prob in probs.items() if p.startswith(piece)) for probs, _ in said]
    ends = [probs.get(piece, 0.0) - part.get(piece, 0.0) for probs, part in said]
    if all(end >= 0.9 * whole for end, whole in zip(ends, begun, strict=True)):
        return False
    masses = [weight * whole for weight, whole in zip(weights, begun, strict=True)]
    least = 0.05 * sum(masses)
    shares = [(end, whole) for end, whole, mass in zip(ends, begun, masses, strict=True) if whole and mass >= least]
    if all(end >= 0.9 * whole for end, whole in shares) or all(end < 0.1 * whole for end, whole in shares):
        return False
    odds = [end / max(whole - end, 1e-9) for end, whole in shares]
    return max(odds) >= 10 * min(odds)


@st.composite
def constrained_toys(draw: st.DrawFn) -> tuple[list[Toy], Constraints]:
    words = st.sets(st.lists(st.sampled_from(DIGITS), min_size=2, max_size=4).map(b"".join), max_size=5)
    num = draw(st.integers(2, 3))
    toys = [Toy(tuple(sorted({*DIGITS, *draw(words)})), draw(st.integers(0, 9999)), sparsity=0.0) for _ in range(num)]
    texts = draw(st.lists(st.lists(st.sampled_from(DIGITS), min_size=1, max_size=5).map(b"".join), min_size=1))
    tokens = sorted({token for toy in toys for token in toy.tokens} | {END})
    values = st.sampled_from([-100.0, -3.0, 0.0, 2.0, 100.0])
    bias = draw(st.just({}) | st.dictionaries(st.sampled_from(tokens), values, max_size=3))
    return toys, Constraints([PROMPT + text for text in texts], bias)


@given(case=constrained_toys(), are_told=st.booleans())
def test_prefix_chooses_as_brute_force(case: tuple[list[Toy], Constraints], are_told: bool) -> None:
    toys, constraints = case
    ensemble = ensemble_of_toys(toys, are_told=are_told)
    union = ensemble.union
    bias = {(union.ids[token] if token else union.end_id): value for token, value in constraints.bias.items()}
    schema = {"enum": [int(text[len(PROMPT) :]) for text in constraints.texts]}
    with patch.multiple(covers_module, NEGLIGIBLE=0.0, WORTH_READING=0.0):
        settings = ensemble.config.settings_from({"json_schema": schema, "logit_bias": bias})
        steps, end = steps_and_end(ensemble.generate(PROMPT.decode(), settings, raw=True))
    for step, (piece, prob) in zip(steps, answer(toys, union, constraints), strict=False):
        assert (step.token, step.prob) == (piece, pytest.approx(prob, rel=1e-3)), end


def ensemble_of_toys(toys: list[Toy], *, are_told: bool) -> Ensemble:
    models = [ToyModel(f"m{i}", toy) for i, toy in enumerate(toys)]

    def member(model: RandomModel, mapping: VocabMapping) -> InlineMember:
        return ToldMember(model, mapping, 2) if are_told else InlineMember(model, mapping)

    return ensemble_of(models, config_of([model.name for model in models], {"mode": "every-step"}), member)
