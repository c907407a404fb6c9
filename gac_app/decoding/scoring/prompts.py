"""How probable each token of a prompt is, given those before it.

For a member, of its own ids. For the ensemble, of union tokens that spell the text: with alignment `prefix` and a
linear rule the probability of their bytes (see `bytes`), otherwise that of the tokens (see `tokens`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise

from gac_app.decoding.distribution import TokenDistribution, Top
from gac_app.decoding.scoring.bytes import Segment, read_by_all, segments
from gac_app.decoding.scoring.pieces import PromptForks, log, read_pieces
from gac_app.decoding.scoring.scorer import Mix

_NUM_OF_EACH = 8  # likely tokens of each member among which the mixture's likeliest is looked for


@dataclass(frozen=True, slots=True)
class TokenScore:
    """A token of a prompt.

    Attributes:
        token: its bytes; none for a control token.
        log_prob: natural logarithm, -inf for what cannot be; None for the first token.
        top: the likeliest tokens at its place with their log-probabilities, the best first.
    """

    token: bytes
    log_prob: float | None
    top: tuple[tuple[bytes, float], ...] = ()


def score_ids(forks: PromptForks, ids: Sequence[int], num_top: int) -> list[TokenScore]:
    """A member's own ids.

    Args:
        forks: hold the first one, in that member.

    Raises:
        SessionStopped: soon after `forks.stopped` is set.
    """
    [member] = forks.members
    mapping, union = member.mapping, member.mapping.union
    tokens = [mapping.vocabulary.token_bytes[own] or b"" for own in ids]
    scores = [TokenScore(token, None) for token in tokens[:1]]
    with forks.sequences() as [sequence]:
        found = chain.from_iterable(forks.parts(member, sequence, [(own,) for own in ids[1:]]))
        for own, token, distribution in zip(ids[1:], tokens[1:], found, strict=True):
            place = union.end_id if own in mapping.vocabulary.end_ids else union.ids.get(token)
            log_prob = -math.inf if place is None else distribution.log_prob_of(place)
            top = tuple((union.token(at), log(prob)) for at, prob in distribution.top_k(num_top))
            scores.append(TokenScore(token, log_prob, top))
    return scores


@dataclass(frozen=True, slots=True)
class TextScorer:
    """Scores union tokens that follow the first one of a document.

    Args:
        forks: hold that one, in the members that take part, the gate first.
    """

    forks: PromptForks
    mix: Mix
    num_top: int

    def by_bytes(self, tokens: Sequence[bytes]) -> list[TokenScore]:
        """By the probability of their bytes."""
        text = b"".join(tokens)
        found = read_by_all(self.forks, text, self.mix.gate, num_top=_NUM_OF_EACH if self.num_top else 0)
        parts = list(segments(found, len(text), self.mix.rules()))
        log_probs = _log_probs(parts)
        bounds = list(accumulate(map(len, tokens), initial=0))
        within = iter(parts)
        part = next(within)
        scores: list[TokenScore] = []
        for token, (start, end) in zip(tokens, pairwise(bounds), strict=True):
            while start >= part.end:
                part = next(within)
            log_prob = log_probs[end] - log_probs[start]
            top = self._top(part, start, token, log_prob) if self.num_top else ()
            scores.append(TokenScore(token, log_prob, top))
        return scores

    def _top(self, part: Segment, place: int, token: bytes, log_prob: float) -> tuple[tuple[bytes, float], ...]:
        """The likeliest tokens at a place, of the members that have a boundary there. Where no member has one, the
        text's token is the only one known.
        """
        union = self.forks.members[0].mapping.union
        tops = {name: probs.tops[place] for name, probs in part.members.items() if place in probs.tops}
        total = sum(part.shares[name] for name in tops)
        likely: dict[int, float] = {}
        for name, top in tops.items():
            for token_id, prob in top:
                likely[token_id] = likely.get(token_id, 0.0) + prob * (part.shares[name] / total if total else 0.0)
        told = {union.token(token_id): log(prob) for token_id, prob in likely.items()}
        # What begins as the text goes on is the text's token, whose bytes have a probability of their own.
        others = {other: value for other, value in told.items() if not (other and token.startswith(other))}
        best = sorted((others | {token: log_prob}).items(), key=lambda item: -item[1])
        return tuple(best[: self.num_top])

    def by_tokens(self, tokens: Sequence[bytes]) -> list[TokenScore]:
        """By their own probability."""
        union, rules, scores = self.forks.members[0].mapping.union, self.mix.rules(), list[TokenScore]()
        for piece in read_pieces(self.forks, tokens, self.mix.gate):
            log_prob, shares = piece.mixed(rules)
            top: Top = []
            if self.num_top:
                is_mixed, first = len(shares) > 1, next(iter(piece.distributions.values()))
                mixed = TokenDistribution(piece.combined_U(rules, shares)) if is_mixed else first
                top = mixed.top_k(self.num_top)
            told = tuple((union.token(token_id), log(prob)) for token_id, prob in top)
            scores.append(TokenScore(union.token(piece.token_id), log_prob, told))
        return scores


def _log_probs(parts: Sequence[Segment]) -> list[float]:
    """Of the first bytes of a text, by their number."""
    log_probs = [0.0]
    for part in parts:
        before = log_probs[-1]
        log_probs += (before + part.log_prob(place) for place in range(part.start + 1, part.end + 1))
    return log_probs
