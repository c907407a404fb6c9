"""How probable a given text is to the ensemble, or to a member alone.

By the alignment `paper` an ensemble decodes tokens, not texts: the same text may come about by several rows of union
tokens. What is computed is the probability of one of them, a lower bound of the text's: the likeliest of those that
each member's tokeniser gives and of the longest union tokens. A member alone: its tokeniser's. For the alignment
`prefix` see `byte_scoring`.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from collections.abc import Sequence as SequenceOf
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate

import torch

from gac_app.decoding.gate import Favourite, Gate
from gac_app.decoding.member import Member
from gac_app.decoding.weights import StepWeights
from gac_app.models.base import Sequence
from gac_app.vocab.mapping import VocabMapping
from gac_app.vocab.union import UnionVocabulary

LEAST_PROB = 1e-12  # so that no text is impossible
IDS_AT_ONCE = 32  # or pieces: longer texts are read in parts


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
    """A prompt that every member has read, and sequences that go on from there."""

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

    @contextmanager
    def sequences(self) -> Generator[list[Sequence], None, None]:
        """A new sequence of each member that holds the prompt, its last id pending."""
        forked: list[Sequence] = []
        try:
            for member, own, sequence in zip(self.members, self._ids, self._read, strict=True):
                forked.append(member.fork(sequence))
                forked[-1].extend(own[-1:])
            yield forked
        finally:
            for member, sequence in zip(self.members, forked, strict=False):
                member.free(sequence)

    def close(self) -> None:
        """Give the prompt's memory back."""
        for member, sequence in zip(self.members, self._read, strict=True):
            member.free(sequence)


def follow_pieces(forks: PromptForks, pieces: SequenceOf[bytes], gate: Gate, weights: StepWeights) -> Score:
    """The probability of `pieces`, one a step, by the alignment of the paper. Known, they are read many at once."""
    union = forks.members[0].mapping.union
    log_prob, num_ensembled, is_stable = 0.0, 0, True
    with forks.sequences() as sequences:
        for start in range(0, len(pieces), IDS_AT_ONCE):
            chunk = [union.ids[piece] for piece in pieces[start : start + IDS_AT_ONCE]]
            rows = _read_chunk(forks.members, sequences, chunk, gate.temperature)
            for index, token_id in enumerate(chunk):
                at_step = {member.name: row[index] for member, row in zip(forks.members, rows, strict=True)}
                decision = gate.decide([favourite for _, favourite in at_step.values()], is_stable=is_stable)
                is_ensembled = decision.is_open and len(at_step) > 1
                names = list(at_step) if is_ensembled else list(at_step)[:1]
                probs = {name: float(at_step[name][0][token_id]) for name in names}
                log_prob += math.log(max(_mixed(probs, weights), LEAST_PROB))
                num_ensembled += is_ensembled
                is_stable = all(len(member.mapping.feed(token_id)) == 1 for member in forks.members)
    return Score(log_prob, sum(map(len, pieces)), len(pieces), num_ensembled)


def _read_chunk(
    members: list[Member], sequences: list[Sequence], chunk: list[int], temperature: float
) -> list[list[tuple[torch.Tensor, Favourite]]]:
    """Per member its distribution before each union token of `chunk`, and its favourite there."""
    asked = []
    for member, sequence in zip(members, sequences, strict=True):
        spelt = [member.mapping.feed(token_id) for token_id in chunk]
        ends = list(accumulate((len(ids) for ids in spelt[:-1]), initial=sequence.num_pending - 1))
        sequence.extend([own for ids in spelt[:-1] for own in ids])
        asked.append((member.read(sequence, num_logits=sequence.num_pending), ends, sequence, spelt[-1]))
    rows = []
    for future, ends, sequence, last in asked:
        reading = future.result()
        rows.append([(reading.probs_NU[end], reading.favourite(end, temperature)) for end in ends])
        sequence.extend(list(last))
    return rows


def _mixed(probs: dict[str, float], weights: StepWeights) -> float:
    """What the members taking part give together to a token; the weights learn from it."""
    if len(probs) == 1:
        return next(iter(probs.values()))
    shares = weights.of(list(probs))
    weights.note({name: math.log(max(prob, LEAST_PROB)) for name, prob in probs.items()}, is_shared=True)
    return sum(shares[name] * prob for name, prob in probs.items())


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
