"""Reads of a text that follows a prompt, piece by piece: its union tokens, as the members see them."""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from itertools import accumulate, chain

import numpy as np
import torch

from gac_app.decoding.contexts import Wait
from gac_app.decoding.distribution import ReadResult, TokenDistribution
from gac_app.decoding.member import Member
from gac_app.decoding.rules.answer import StepRules
from gac_app.decoding.rules.gate import Gate, GateView
from gac_app.errors import MemberError
from gac_app.models.sequence import ForwardRequest, KVSequence, Share

IDS_AT_ONCE, FEW_AT_ONCE = 32, 10  # or pieces: longer texts are read in parts; few where others wait for them


@dataclass
class ReadPrompt:
    """A prompt that every member reads once, at its first use, and the sequences in which texts follow it, one after
    the other.

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
    _sequences: list[KVSequence] = field(init=False, default_factory=list)

    @cached_property
    def key(self) -> bytes:
        """Identifies the members, the prompt, and for whom and how it is read. A digest, since prompts may be long."""
        read = [member.name for member in self.members], self.ids, self.namespace, self.is_reproducible
        return hashlib.sha256(repr(read).encode()).digest()

    def sequences(self) -> list[KVSequence]:
        """A sequence of each member for what follows the prompt, of which all but the last id is computed."""
        if not self._sequences:
            self._read()
        return self._sequences

    def _read(self) -> None:
        # The last id is read together with the text: only a read gives a distribution.
        for member, own in zip(self.members, self.ids, strict=True):  # where one has no room, the others are freed
            sequence = member.open(own[:-1], self.share, self.namespace, is_reproducible=self.is_reproducible)
            sequence.timeout_s, sequence.stopped = self.timeout_s, self.stopped or sequence.stopped
            self._sequences.append(sequence)
        held = [pair for pair in zip(self.members, self._sequences, strict=True) if pair[1].prompt]
        reads = [(m, sequence, m.read(ForwardRequest(sequence, sequence.prompt))) for m, sequence in held]
        waiting = Wait(sequence for _, sequence, _ in reads)
        for member, sequence, read in reads:
            self._result(waiting, member, sequence, read)
        for sequence, own in zip(self._sequences, self.ids, strict=True):
            sequence.prompt = tuple(own)

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
            found = self._result(Wait([sequence]), member, sequence, read).distributions
            yield [found[end] for end in ends]
            context = (*ids, *part[-1])

    def _result(self, waiting: Wait, member: Member, sequence: KVSequence, read: Future[ReadResult]) -> ReadResult:
        """Raises SessionStopped, MemberError."""
        try:
            waiting.until_done(read, member, sequence)
            return read.result()
        except MemberError as error:
            raise MemberError(member.name, error.kind, error.message) from error  # a view fails as itself

    def close(self) -> None:
        """Free the prompt's memory."""
        for member, sequence in zip(self.members, self._sequences, strict=False):
            member.free(sequence)


@dataclass(frozen=True, slots=True)
class PieceRead:
    """One piece of a text, a union token, as the members see it.

    Attributes:
        log_probs: of the piece, by member name, the gate first.
        views: what the gate sees there, by member name.
        is_stable: whether all members read the previous piece as a token of their own.
        distributions: by member name, where they are kept.
    """

    token_id: int
    log_probs: dict[str, float]
    views: dict[str, GateView]
    is_stable: bool
    distributions: dict[str, TokenDistribution]

    def weights(self, rules: StepRules) -> dict[str, float]:
        """Of the members that take part. The weights learn from the piece."""
        return rules.mixture_weights_along(
            self.log_probs, self.views, self.distributions.__getitem__, is_stable=self.is_stable
        )

    def log_prob(self, rules: StepRules, weights: Mapping[str, float]) -> float:
        """Combined, -inf for what cannot be."""
        if rules.combiner.is_linear or len(weights) == 1:
            return log_mean(self.log_probs, weights)
        return log(float(self.combined_U(rules, weights)[self.token_id]))

    def combined_U(self, rules: StepRules, weights: Mapping[str, float]) -> torch.Tensor:
        """The combined distribution of the members with `weights`, [U]."""
        return rules.combiner({name: self.distributions[name].probs_U for name in weights}, weights)


def read_pieces(prompt: ReadPrompt, ids: Sequence[int], gate: Gate) -> Iterator[PieceRead]:
    """Read union tokens. Many are read at once, since they are known."""
    names = [member.name for member in prompt.members]
    fed = [[member.mapping.feed(token_id) for token_id in ids] for member in prompt.members]
    is_stable, remaining = True, zip(ids, zip(*fed, strict=True), strict=True)
    with ThreadPoolExecutor(len(names)) as pool:
        readers = list(map(prompt.parts, prompt.members, prompt.sequences(), fed))
        for _ in range(0, len(ids), prompt.ids_at_once):
            found = zip(*pool.map(next, readers), strict=True)
            for at_piece, (token_id, own) in zip(found, remaining):  # noqa: B905 (more remain)
                by_name = dict(zip(names, at_piece, strict=True))
                log_probs = {name: distribution.log_prob_of(token_id) for name, distribution in by_name.items()}
                views = {name: gate.view(distribution) for name, distribution in by_name.items()}
                yield PieceRead(token_id, log_probs, views, is_stable, by_name)
                is_stable = all(len(one) == 1 for one in own)


def spelt_by(member: Member, text: bytes, before: Sequence[int] | None) -> tuple[int, ...]:
    """The union tokens of a text, as a member's tokeniser cuts it. Pieces that are no union token are cut further.

    Args:
        before: see `spaced_ids`.
    """
    own, union = member.mapping.vocabulary.token_bytes, member.mapping.union
    ids = spaced_ids(member, text, before) or member.mapping.spell(text)
    return tuple(token_id for one in ids for token_id in union.cut(own[one] or b""))


def spaced_ids(member: Member, text: bytes, before: Sequence[int] | None) -> list[int]:
    """A member's ids of a text behind the ids `before`, where these are the start of a document and its tokeniser puts
    a space first; else none.
    """
    if before is None or before != (start := member.encode("")):
        return []
    whole = member.encode(text.decode())
    ids = whole[len(start) :]
    return ids if whole == [*start, *ids] and member.mapping.vocabulary.decode(ids) == b" " + text else []


def log(prob: float) -> float:
    """The natural logarithm; -inf of 0."""
    return math.log(prob) if prob > 0 else -math.inf


def log_mean(log_probs: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """The logarithm of the mean of probabilities, weighted by `weights`; -inf if none counts."""
    return log_sum(math.log(weight) + log_probs[name] for name, weight in weights.items() if weight > 0)


def log_sum(log_probs: Iterable[float]) -> float:
    """The logarithm of a sum of probabilities; -inf of none."""
    values = np.fromiter(log_probs, float) if not isinstance(log_probs, np.ndarray) else log_probs
    most = float(values.max(initial=-math.inf))
    return most + math.log(float(np.exp(values - most).sum())) if most > -math.inf else most
