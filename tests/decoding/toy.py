"""Toy members over a few letters whose next token depends on the bytes so far only, and what follows, by brute force.

Everything here is slow and obvious: the fast code is held against it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch

from gac_app.decoding.alignment.covers import Covers
from gac_app.decoding.distribution import distributions_of
from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.member import InlineMember
from gac_app.vocab.mapping import VocabMapping
from gac_app.vocab.tokens import MemberVocabulary
from gac_app.vocab.union import UnionVocabulary
from tests.fakes import FakeModel, config_of, ensemble_of
from tests.vocab.vocabularies import vocabulary

END = b""
_END_PROB = 0.05


@dataclass(frozen=True)
class Toy:
    """A distribution over texts."""

    tokens: tuple[bytes, ...]  # all letters among them
    seed: int  # draws the probabilities
    is_canonical: bool = False  # gives no probability to a token that its tokeniser would not produce there
    sparsity: float = 0.3  # share of tokens that have no probability anyway

    def probs(self, text: bytes) -> dict[bytes, float]:
        """Of the next token after `text`, by token; those of probability 0 are left out."""
        draw = random.Random(f"{self.seed} {text!r}")
        weights = {token: draw.random() ** 3 * (draw.random() >= self.sparsity) for token in self.tokens}
        if self.is_canonical:
            own = self.cut(text)
            weights = {t: weight for t, weight in weights.items() if self.cut(text + t) == [*own, t]}
        total = sum(weights.values())
        scale = (1 - _END_PROB) / total if total else 0.0
        probs = {token: weight * scale for token, weight in weights.items() if weight}
        return {**probs, END: 1 - sum(probs.values())}

    def cut(self, text: bytes) -> list[bytes]:
        """The pieces that its tokeniser makes: greedy longest matches."""
        pieces = []
        while text:
            pieces.append(max((token for token in self.tokens if text.startswith(token)), key=len))
            text = text[len(pieces[-1]) :]
        return pieces

    @property
    def vocabulary(self) -> MemberVocabulary:
        return vocabulary([*self.tokens, None], end_ids=[len(self.tokens)])

    def logits_V(self, text: bytes) -> torch.Tensor:
        probs = self.probs(text)
        return torch.tensor([probs.get(token, 0.0) for token in (*self.tokens, END)]).log()


class ToyModel(FakeModel):
    """A toy as a model."""

    def __init__(self, name: str, toy: Toy, context_length: int = 4096) -> None:
        super().__init__(name, context_length=context_length, own_vocabulary=toy.vocabulary)
        self.toy = toy

    def _logits_V(self, ids: list[int]) -> torch.Tensor:
        return self.toy.logits_V(self.vocabulary.decode(ids))


def toys(seed: int, num: int, letters: tuple[bytes, ...] = (b"a", b"b"), num_words: int = 3) -> list[Toy]:
    """Members of one alphabet whose words differ."""
    draw = random.Random(seed)

    def words() -> set[bytes]:
        return {b"".join(draw.choices(letters, k=draw.randint(2, 4))) for _ in range(num_words)}

    return [Toy(tuple(sorted({*letters, *words()})), 100 * seed + i, sparsity=0.0) for i in range(num)]


def toy_ensemble(members: list[Toy], context_length: int = 4096, **settings: object) -> Ensemble:
    """An ensemble of toys named m0, m1, ... that asks all at every step."""
    models = [ToyModel(f"m{i}", toy, context_length) for i, toy in enumerate(members)]
    config = config_of([model.name for model in models], {"mode": "every-step", **settings})
    return ensemble_of(models, config, InlineMember)


def model_of(ensemble: Ensemble, name: str) -> ToyModel:
    model = ensemble.members[name].model
    assert isinstance(model, ToyModel)
    return model


@dataclass
class Expected:
    """What a toy expects after some bytes, however they were cut. The next piece is the next token, or what is left of
    the one that has begun.
    """

    mass: float = 0.0  # the probability of the bytes; where it is 0 nothing is expected
    probs: dict[bytes, float] = field(default_factory=dict)  # of the next piece
    partial_probs: dict[bytes, float] = field(
        default_factory=dict
    )  # the part of each that belongs to longer left-overs
    untracked: float = 0.0  # probability, given the bytes, of tokenisations with a boundary that ends no piece told


def expected(
    toy: Toy, union: UnionVocabulary, text: bytes, ends: set[int], closed: set[int], start: int = 0
) -> Expected:
    """Sum over all tokenisations of `text`.

    Args:
        ends: of the pieces told so far, in `text`.
        closed: those of them at which the toy's own tokens are known to end.
        start: an end before which nothing is in doubt.
    """
    found = Expected()
    for boundaries, left_over, prob in tokenisations(toy, text, closed, start):
        found.mass += prob
        if not set(boundaries) <= ends:
            found.untracked += prob
        nexts = toy.probs(text) if left_over is None else {left_over: 1.0}
        for piece, share in nexts.items():
            first = piece and union.tokens[union.longest(piece)]
            found.probs[first] = found.probs.get(first, 0.0) + prob * share
            if first != piece:
                found.partial_probs[first] = found.partial_probs.get(first, 0.0) + prob * share
    for probs in (found.probs, found.partial_probs):
        probs.update({piece: prob / found.mass for piece, prob in probs.items()})
    found.untracked /= found.mass or 1.0
    return found


def tokenisations(
    toy: Toy, text: bytes, closed: set[int], start: int = 0, prob: float = 1.0, boundaries: tuple[int, ...] = ()
) -> Iterator[tuple[tuple[int, ...], bytes | None, float]]:
    """(boundaries, what its last token leaves over or None where it ends with the text, probability) of each."""
    if start == len(text):
        yield boundaries, None, prob
        return
    for token, share in toy.probs(text[:start]).items():
        end = start + len(token)
        if not token or any(start < place < end for place in closed):
            continue
        if end <= len(text) and text[start:end] == token:
            yield from tokenisations(toy, text, closed, end, prob * share, (*boundaries, end))
        elif end > len(text) and token.startswith(text[start:]):
            yield boundaries, token[len(text) - start :], prob * share


def learn(covers: Covers, toy: Toy, mapping: VocabMapping) -> None:
    """Read the boundaries that are unread."""
    unread = covers.unread
    if unread:
        logits_NV = torch.stack([toy.logits_V(bytes(covers.text[: boundary.end])) for boundary in unread])
        covers.learn(distributions_of(mapping, logits_NV))


def distance(probs_U: torch.Tensor, probs: Mapping[bytes, float], union: UnionVocabulary) -> float:
    """The total variation between a distribution and probabilities by piece."""
    other_U = torch.zeros_like(probs_U)
    for piece, prob in probs.items():
        other_U[union.ids[piece] if piece else union.end_id] = prob
    return float((probs_U - other_U).abs().sum()) / 2
