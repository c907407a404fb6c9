"""How probable a given text is to the ensemble, or to a member alone.

An ensemble decodes pieces, not texts: the same text may come about by several rows of union tokens. What is computed is
the probability of one of them, a lower bound of the text's. `paper`: the likeliest of those that each member's
tokeniser gives and of the longest union tokens. `prefix`: at each step the likeliest piece at whose end some member's
tokeniser cuts the text, or that is contested. A member alone: its tokeniser's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from gac_app.decoding.stepper import Stepper
from gac_app.vocab.mapping import VocabMapping
from gac_app.vocab.union import UnionVocabulary

_LEAST_PROB = 1e-12  # so that no text is impossible


@dataclass(frozen=True, slots=True)
class Score:
    """Of a text that follows a prompt."""

    log_prob: float  # natural logarithm
    num_bytes: int
    num_steps: int
    num_ensembled: int

    @property
    def bits_per_byte(self) -> float:
        return -self.log_prob / math.log(2) / self.num_bytes if self.num_bytes else 0.0


class PiecesFollower:
    """Takes given pieces, one a step."""

    def __init__(self, pieces: list[bytes], union: UnionVocabulary) -> None:
        self._ids = iter([union.ids[piece] for piece in pieces])

    def __call__(self, probs_U: torch.Tensor) -> int:
        return next(self._ids)


class CutsFollower:
    """Takes the likeliest piece that leads to one of the given cuts, or at which what is possible ends.

    Args:
        text: what is followed.
        cuts: places in it at which some member's tokeniser would cut.
    """

    def __init__(self, text: bytes, cuts: frozenset[int], union: UnionVocabulary) -> None:
        self._text = text
        self._cuts = cuts
        self._union = union
        self._at = 0

    def __call__(self, probs_U: torch.Tensor) -> int:
        pieces = list(self._pieces())
        probs = probs_U[torch.tensor([token_id for token_id, _ in pieces])].tolist()
        reaching = [
            (prob, end, token_id)
            for index, (prob, (token_id, end)) in enumerate(zip(probs, pieces, strict=True))
            if end in self._cuts or not any(probs[index + 1 :])
        ]
        _, self._at, token_id = max(reaching)
        return token_id

    def _pieces(self) -> Iterator[tuple[int, int]]:
        """(union id, end in the text) of the tokens that come next, shortest first."""
        for end in range(self._at + 1, min(len(self._text), self._at + self._union.max_token_bytes) + 1):
            token_id = self._union.ids.get(self._text[self._at : end])
            if token_id is not None:
                yield token_id, end


Follower = PiecesFollower | CutsFollower


def follow(stepper: Stepper, text: bytes, choose: Follower) -> Score:
    """Decode `text` as `choose` cuts it. The stepper is used up, but not closed."""
    log_prob, length, num_steps, num_ensembled = 0.0, 0, 0, 0
    while length < len(text):
        step = stepper.decide(choose)
        log_prob += math.log(max(step.prob, _LEAST_PROB))
        length += len(step.token)
        num_steps += 1
        num_ensembled += step.is_ensembled
        if length < len(text):
            stepper.feed(step)
    return Score(log_prob, len(text), num_steps, num_ensembled)


def member_pieces(text: bytes, mapping: VocabMapping) -> list[bytes]:
    """`text` as a member's tokeniser cuts it, what is no union token cut further."""
    pieces = [mapping.vocabulary.token_bytes[own] or b"" for own in mapping.spell(text)]
    return [part for piece in pieces for part in longest_pieces(piece, mapping.union)]


def longest_pieces(text: bytes, union: UnionVocabulary) -> list[bytes]:
    """`text` cut into the longest union tokens, from its beginning on."""
    if text in union.ids:
        return [text]
    pieces = []
    while text:
        pieces.append(union.tokens[union.longest(text)])
        text = text[len(pieces[-1]) :]
    return pieces


def cuts_of(pieces: list[bytes]) -> set[int]:
    """The ends of `pieces` in their text."""
    ends, end = set(), 0
    for piece in pieces:
        end += len(piece)
        ends.add(end)
    return ends
