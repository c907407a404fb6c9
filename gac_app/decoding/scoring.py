"""How probable a given text is to the ensemble, or to a member alone.

An ensemble decodes pieces, not texts: the same text may come about by several rows of union tokens. What is computed is
the probability of one of them, a lower bound of the text's. `paper`: the likeliest of those that each member's
tokeniser gives and of the longest union tokens. `prefix`: at each step the likeliest piece at whose end some member's
tokeniser cuts the text, or that is contested. A member alone: its tokeniser's.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from itertools import accumulate

import torch

from gac_app.decoding.context import MemberContext
from gac_app.decoding.gate import Gate
from gac_app.decoding.member import Member
from gac_app.decoding.stepper import Stepper
from gac_app.decoding.weights import StepWeights
from gac_app.models.base import Sequence
from gac_app.vocab.mapping import VocabMapping
from gac_app.vocab.union import UnionVocabulary

_LEAST_PROB = 1e-12  # so that no text is impossible
_PIECES_AT_ONCE = 32
_LIKELY = 0.01  # share of the likeliest piece's probability


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


class PromptForks:
    """A prompt that every member has read, and contexts that go on from there."""

    def __init__(self, members: list[Member], ids: list[list[int]]) -> None:
        self.members = members
        self._ids = ids
        # The last id is read with what follows: a distribution comes from reading only.
        self._read = [member.open(own[:-1]) for member, own in zip(members, ids, strict=True)]
        try:
            for future in [
                member.read(sequence) for member, sequence in zip(members, self._read, strict=True) if sequence.ids
            ]:
                future.result()
        except BaseException:
            self.close()
            raise

    def sequences(self) -> list[Sequence]:
        """A new sequence of each member that holds the prompt, to be freed by the caller."""
        forked: list[Sequence] = []
        try:
            for member, own, sequence in zip(self.members, self._ids, self._read, strict=True):
                forked.append(member.fork(sequence))
                forked[-1].extend(own[-1:])
        except BaseException:
            for member, sequence in zip(self.members, forked, strict=False):
                member.free(sequence)
            raise
        return forked

    def contexts(self, context_type: type[MemberContext]) -> list[MemberContext]:
        """New contexts of the members, to be closed by the caller."""
        return [
            context_type(member, own, sequence)
            for member, own, sequence in zip(self.members, self._ids, self.sequences(), strict=True)
        ]

    def close(self) -> None:
        """Give the prompt's memory back."""
        for member, sequence in zip(self.members, self._read, strict=True):
            member.free(sequence)


class CutsFollower:
    """Takes, of the pieces that lead to one of the given cuts or that cannot go on, the longest likely one.

    A shorter piece is an event of its own: behind it the members do not expect the longer one any more.

    Args:
        text: what is followed.
        cuts: places in it at which some member's tokeniser would cut.
    """

    def __init__(self, text: bytes, cuts: Collection[int], union: UnionVocabulary) -> None:
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
        likely = [piece for piece in reaching if piece[0] >= max(probs) * _LIKELY]
        _, self._at, token_id = likely[-1] if likely else max(reaching)
        return token_id

    def _pieces(self) -> Iterator[tuple[int, int]]:
        """(union id, end in the text) of the tokens that come next, shortest first."""
        for end in range(self._at + 1, min(len(self._text), self._at + self._union.max_token_bytes) + 1):
            token_id = self._union.ids.get(self._text[self._at : end])
            if token_id is not None:
                yield token_id, end


def follow(stepper: Stepper, text: bytes, choose: CutsFollower) -> Score:
    """Decode `text` step by step as `choose` cuts it. The stepper is used up, but not closed."""
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


def follow_pieces(forks: PromptForks, pieces: SequenceOf[bytes], gate: Gate, weights: StepWeights) -> Score:
    """The probability of `pieces`, one a step, by the alignment of the paper. Known, they are read many at once."""
    union = forks.members[0].mapping.union
    sequences = forks.sequences()
    log_prob, num_ensembled = 0.0, 0
    try:
        for start in range(0, len(pieces), _PIECES_AT_ONCE):
            chunk = [union.ids[piece] for piece in pieces[start : start + _PIECES_AT_ONCE]]
            rows = _read_chunk(forks.members, sequences, chunk)
            for index, token_id in enumerate(chunk):
                prob, is_ensembled = _prob_at_step([row[index] for row in rows], token_id, gate, weights, forks.members)
                log_prob += math.log(max(prob, _LEAST_PROB))
                num_ensembled += is_ensembled
    finally:
        for member, sequence in zip(forks.members, sequences, strict=True):
            member.free(sequence)
    return Score(log_prob, sum(map(len, pieces)), len(pieces), num_ensembled)


def _read_chunk(
    members: list[Member], sequences: list[Sequence], chunk: list[int]
) -> list[list[tuple[torch.Tensor, float]]]:
    """Per member its distribution before each union token of `chunk`, and the largest probability in it."""
    asked = []
    for member, sequence in zip(members, sequences, strict=True):
        spelt = [member.mapping.feed(token_id) for token_id in chunk]
        ends = list(accumulate((len(ids) for ids in spelt[:-1]), initial=sequence.num_pending - 1))
        sequence.extend([own for ids in spelt[:-1] for own in ids])
        asked.append((member.read(sequence, num_logits=sequence.num_pending), ends, sequence, spelt[-1]))
    rows = []
    for future, ends, sequence, last in asked:
        reading = future.result()
        rows.append([(reading.probs_NU[end], float(reading.top_probs_NK[end, 0])) for end in ends])
        sequence.extend(list(last))
    return rows


def _prob_at_step(
    rows: list[tuple[torch.Tensor, float]], token_id: int, gate: Gate, weights: StepWeights, members: list[Member]
) -> tuple[float, bool]:
    """(probability of the token, whether the step is ensembled); the first row is the gate's."""
    if not gate.decide(rows[0][1]).is_open or len(rows) == 1:
        return float(rows[0][0][token_id]), False
    names = [member.name for member in members]
    probs = {name: float(probs_U[token_id]) for name, (probs_U, _) in zip(names, rows, strict=True)}
    shares = weights.of(names)
    weights.note(probs, is_open=False)
    return sum(shares[name] * prob for name, prob in probs.items()), True


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


def cuts_of(pieces: SequenceOf[bytes]) -> set[int]:
    """The ends of `pieces` in their text."""
    ends, end = set(), 0
    for piece in pieces:
        end += len(piece)
        ends.add(end)
    return ends
