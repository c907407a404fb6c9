"""How probable a given text is to the ensemble, or to a member alone.

With alignment `paper` an ensemble decodes tokens, not texts: several sequences of union tokens may give the same text.
The score is the probability of one of them, a lower bound on the text's probability: the likeliest among each member's
tokenisation and the one by longest union tokens. For a member alone it is its own tokenisation. For alignment `prefix`
see `bytes`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field
from itertools import accumulate, chain

import numpy as np
import torch

from gac_app.decoding.contexts import SessionStopped
from gac_app.decoding.distribution import ReadResult, TokenDistribution
from gac_app.decoding.member import Member, awaited
from gac_app.decoding.rules.answer import StepRules
from gac_app.decoding.rules.gate import Gate, GateView
from gac_app.models.sequence import ForwardRequest, KVSequence, Share
from gac_app.vocab.mapping import VocabMapping
from gac_app.vocab.union import UnionVocabulary

LEAST_LOG_PROB = -9999.0  # of what cannot be, so that no text is impossible
_LEAST_PROB = 1e-38  # about float32's least, 87 nats: of what rules make of whole distributions
IDS_AT_ONCE, FEW_AT_ONCE = 32, 10  # or pieces: longer texts are read in parts; few where others wait for them


@dataclass(frozen=True, slots=True)
class Score:
    """Of a text that follows a prompt."""

    log_prob: float  # natural logarithm
    num_bytes: int
    num_steps: int
    num_ensembled: int
    seconds: float = field(default=0.0, compare=False)  # of the forward passes that read the text

    @property
    def bits_per_byte(self) -> float:
        return -self.log_prob / math.log(2) / self.num_bytes if self.num_bytes else 0.0


@dataclass(slots=True)
class PromptForks:
    """A prompt that every member reads once, at its first use, and sequences that continue from it.

    Args:
        ids: the prompt in each member's own ids.
        timeout_s: of one read.
        share: who asks; see `Member.open`.
        namespace: of the prefix cache.
        is_reproducible: logits must not depend on what else runs or ran.
        stopped: ends reads when set.
        ids_at_once: or pieces: others wait for a read of so many.
    """

    members: list[Member]
    ids: list[list[int]]
    timeout_s: float
    share: Share
    namespace: str = ""
    _: KW_ONLY
    is_reproducible: bool = False
    stopped: threading.Event | None = None
    ids_at_once: int = IDS_AT_ONCE
    _read: list[KVSequence | None] = field(init=False, default_factory=list)  # None: there is nothing to continue from

    @contextmanager
    def sequences(self) -> Generator[list[KVSequence], None, None]:
        """A new sequence of each member for what follows the prompt, of which all but the last id is computed."""
        if not self._read:
            self._read_prompt()
        forked: list[KVSequence] = []
        try:
            for member, own, sequence in zip(self.members, self.ids, self._read, strict=True):
                if sequence:
                    forked.append(member.fork(sequence))
                    forked[-1].prompt = tuple(own)
                else:
                    forked.append(self._open(member, own))
            yield forked
        finally:
            for member, sequence in zip(self.members, forked, strict=False):
                member.free(sequence)

    def _open(self, member: Member, ids: list[int]) -> KVSequence:
        return member.open(ids, self.share, self.namespace, is_reproducible=self.is_reproducible)

    def _read_prompt(self) -> None:
        # The last id is read together with the text: only a read gives a distribution.
        for member, own in zip(self.members, self.ids, strict=True):  # where one has no room, the others are freed
            self._read.append(self._open(member, own[:-1]) if len(own) > 1 else None)
        held = [(m, sequence) for m, sequence in zip(self.members, self._read, strict=True) if sequence]
        reads = [(m, sequence, m.read(ForwardRequest(sequence, sequence.prompt))) for m, sequence in held]
        for member, sequence, result in reads:
            self._awaited(member, sequence, result)

    def parts(
        self, member: Member, sequence: KVSequence, pieces: Sequence[Sequence[int]]
    ) -> Iterator[list[TokenDistribution]]:
        """The member's distributions before each of some pieces of ids that follow the prompt, part by part: each part
        is read at once.
        """
        context = sequence.prompt
        for start in range(0, len(pieces), self.ids_at_once):
            part = pieces[start : start + self.ids_at_once]
            ends = list(accumulate(map(len, part[:-1]), initial=0))
            ids = (*context, *chain.from_iterable(part[:-1]))
            read = member.read(ForwardRequest(sequence, ids, num_logits=ends[-1] + 1, with_logs=True))
            found = self._awaited(member, sequence, read).distributions
            yield [found[end] for end in ends]
            context = (*ids, *part[-1])

    def _awaited(self, member: Member, sequence: KVSequence, result: Future[ReadResult]) -> ReadResult:
        """Raises SessionStopped, or MemberError as `awaited`."""
        if self.stopped and self.stopped.is_set():
            result.cancel()
            raise SessionStopped
        return awaited(member, sequence, result, self.timeout_s)

    def close(self) -> None:
        """Free the prompt's memory."""
        for member, sequence in zip(self.members, self._read, strict=False):
            if sequence:
                member.free(sequence)


@dataclass(frozen=True, slots=True)
class PieceRead:
    """One piece of a text, a union token, as the members see it.

    Attributes:
        log_probs: of the piece, by member name, the gate first.
        views: in the same order, what the gate sees there.
        is_stable: whether all members read the previous piece as a token of their own.
        distributions: by member name, where they are kept.
    """

    token_id: int
    log_probs: dict[str, float]
    views: list[GateView]
    is_stable: bool
    distributions: dict[str, TokenDistribution]

    def mixed(self, rules: StepRules) -> tuple[float, dict[str, float]]:
        """Its combined log-probability, -inf for what cannot be, and the shares of the members that took part. The
        weights learn from it.
        """
        first, names = next(iter(self.log_probs)), list(self.log_probs)
        if len(names) == 1 or not rules.gate.decide(self.views, is_stable=self.is_stable).is_open:
            return self.log_probs[first], {first: 1.0}
        shares = rules.shares(names, self.distributions.__getitem__)
        learnt = {name: max(log_prob, LEAST_LOG_PROB) for name, log_prob in self.log_probs.items()}
        rules.weights.note(learnt, is_shared=True)
        if rules.combiner.is_linear:
            return log_mean(self.log_probs, shares), shares
        return log(float(self.combined_U(rules, shares)[self.token_id])), shares

    def combined_U(self, rules: StepRules, shares: Mapping[str, float]) -> torch.Tensor:
        """The combined distribution of the members with `shares`, [U]."""
        return rules.combiner({name: self.distributions[name].probs_U for name in shares}, shares)


def read_pieces(forks: PromptForks, pieces: Sequence[bytes], gate: Gate) -> Iterator[PieceRead]:
    """Read `pieces`, which are union tokens. Many are read at once, since they are known."""
    members, ids = forks.members, forks.members[0].mapping.union.ids
    fed = [[member.mapping.feed(ids[piece]) for piece in pieces] for member in members]
    is_stable, remaining = True, zip(pieces, zip(*fed, strict=True), strict=True)
    with forks.sequences() as sequences, ThreadPoolExecutor(len(members)) as pool:
        readers = list(map(forks.parts, members, sequences, fed))
        for _ in range(0, len(pieces), forks.ids_at_once):
            found = zip(*pool.map(next, readers), strict=True)
            for at_piece, (piece, own) in zip(found, remaining):  # noqa: B905 (more remain)
                by_name = {member.name: distribution for member, distribution in zip(members, at_piece, strict=True)}
                log_probs = {name: distribution.log_prob_of(ids[piece]) for name, distribution in by_name.items()}
                yield PieceRead(ids[piece], log_probs, [gate.view(d) for d in at_piece], is_stable, by_name)
                is_stable = all(len(one) == 1 for one in own)


def score_pieces(pieces: Iterable[PieceRead], num_bytes: int, rules: StepRules) -> Score:
    """The probability of pieces that were read, one per step, with alignment `paper`."""
    log_prob, num_steps, num_ensembled = 0.0, 0, 0
    for piece in pieces:
        found, shares = piece.mixed(rules)
        is_exact = rules.combiner.is_linear or len(shares) == 1
        log_prob += max(found, LEAST_LOG_PROB if is_exact else math.log(_LEAST_PROB))
        num_steps += 1
        num_ensembled += len(shares) > 1
    return Score(log_prob, num_bytes, num_steps, num_ensembled)


def log(prob: float) -> float:
    """The natural logarithm; -inf of 0."""
    return math.log(prob) if prob > 0 else -math.inf


def log_mean(log_probs: Mapping[str, float], shares: Mapping[str, float]) -> float:
    """The logarithm of the mean of probabilities, weighted by `shares`; -inf if none counts."""
    return log_sum(math.log(shares[name]) + log_prob for name, log_prob in log_probs.items() if shares[name] > 0)


def log_sum(log_probs: Iterable[float]) -> float:
    """The logarithm of a sum of probabilities; -inf of none."""
    values = np.fromiter(log_probs, float) if not isinstance(log_probs, np.ndarray) else log_probs
    most = float(values.max(initial=-math.inf))
    return most + math.log(float(np.exp(values - most).sum())) if most > -math.inf else most


def member_pieces(text: bytes, mapping: VocabMapping) -> list[bytes]:
    """`text` as a member's tokeniser cuts it. Pieces that are no union token are cut further."""
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
