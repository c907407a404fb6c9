"""How probable a given text is to the ensemble, or to a member alone, and each token of a prompt.

With alignment `paper` an ensemble decodes tokens, not texts: several sequences of union tokens may give the same text.
The score is the probability of one of them, a lower bound on the text's probability: the likeliest among each member's
tokenisation and the one by longest union tokens. For a member alone it is its own tokenisation. For alignment `prefix`
and a linear rule see `bytes`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate, chain, pairwise
from typing import Any

from gac_app.decoding.distribution import TokenDistribution
from gac_app.decoding.rules import REGISTRIES
from gac_app.decoding.rules.answer import StepRules
from gac_app.decoding.rules.weights import LEAST_LOG_PROB
from gac_app.decoding.scoring.bytes import Segment, TextProbs, log_prob_in, read_by_all, segments
from gac_app.decoding.scoring.pieces import PieceRead, ReadPrompt, log, read_pieces, spaced_ids, spelt_by
from gac_app.decoding.scoring.single_flight import SingleFlightCache
from gac_app.settings import Settings
from gac_app.vocab.tokens import bytes_of
from gac_app.vocab.union import UnionVocabulary

_LEAST_PROB = 1e-38  # about float32's least, 87 nats: of what rules make of whole distributions
_NUM_OF_EACH = 8  # likely tokens of each member among which the mixture's likeliest is looked for
_PROMPT_CHARS_READ = 2000  # for its perplexity: every token takes a distribution over the whole vocabulary

Step = tuple[float, dict[str, float]]  # its log-probability, and the weights of the members that take part
Top = tuple[tuple[bytes, float], ...]  # tokens with their log-probabilities, the best first


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


@dataclass(frozen=True, slots=True)
class TokenScore:
    """A token of a prompt.

    Attributes:
        token: its bytes; none for a control token.
        log_prob: natural logarithm, -inf for what cannot be; None for the first token.
        top: the likeliest tokens at its place.
    """

    token: bytes
    log_prob: float | None
    top: Top = ()


@dataclass(frozen=True, slots=True)
class Scorer:
    """Scores texts that follow one prompt.

    Args:
        prompt: with the members that take part, the gate first.
        rules: at the start of a text.
        settings: which chose the rules.
        read_texts: what was read of texts before.
    """

    prompt: ReadPrompt
    rules: StepRules
    settings: Settings
    read_texts: SingleFlightCache

    @property
    def _is_of_bytes(self) -> bool:
        """Whether texts are scored by their bytes."""
        is_mixed = len(self.prompt.members) > 1
        return self.settings.alignment == "prefix" and is_mixed and not self.rules.needs_distributions

    @property
    def _union(self) -> UnionVocabulary:
        return self.prompt.members[0].mapping.union

    def score(self, text: bytes) -> Score:
        """How probable the text is."""
        if not text:
            return Score(0.0, 0, 0, 0)
        if self._is_of_bytes:
            return self._by_bytes(text)
        members = self.prompt.members
        before = self.prompt.ids[0] if len(members) == 1 else None
        cuts = [spelt_by(member, text, before) for member in members]
        if len(members) > 1:
            cuts.append(tuple(self._union.cut(text)))
        scores = [self._of_pieces(ids, len(text)) for ids in dict.fromkeys(cuts)]
        best = max(scores, key=lambda score: score.log_prob)
        return replace(best, seconds=sum(score.seconds for score in scores))

    def tokens(self, ids: Sequence[int], num_top: int) -> list[TokenScore]:
        """How probable each of these union tokens is.

        Args:
            num_top: likely tokens told at each place.
        """
        if not ids:
            return []
        return self._tokens_by_bytes(ids, num_top) if self._is_of_bytes else self._tokens_by_pieces(ids, num_top)

    # --- by bytes, see `bytes`

    def _by_bytes(self, text: bytes) -> Score:
        members, seconds = self._once(text, len(text), partial(read_by_all, self.prompt, text, self.rules.gate))
        parts = segments(members, len(text), self.rules.restarted())
        return _score_of([(log_prob_in(members, part, part.end), part.weights) for part in parts], len(text), seconds)

    def _tokens_by_bytes(self, ids: Sequence[int], num_top: int) -> list[TokenScore]:
        tokens = [self._union.token(token_id) for token_id in ids]
        text = b"".join(tokens)
        members = read_by_all(self.prompt, text, self.rules.gate, num_top=_NUM_OF_EACH if num_top else 0)
        log_probs, part_at = [0.0], list[Segment]()  # of the first bytes, by their number; of each byte
        for part in segments(members, len(text), self.rules.restarted()):
            before, places = log_probs[-1], range(part.start + 1, part.end + 1)
            log_probs += (before + log_prob_in(members, part, place) for place in places)
            part_at += [part] * len(places)
        scores = []
        for token, (start, end) in zip(tokens, pairwise(accumulate(map(len, tokens), initial=0)), strict=True):
            log_prob = log_probs[end] - log_probs[start]
            top = self._top(members, part_at[start], start, token, log_prob)[:num_top] if num_top else ()
            scores.append(TokenScore(token, log_prob, top))
        return scores

    def _top(self, members: dict[str, TextProbs], part: Segment, place: int, token: bytes, log_prob: float) -> Top:
        """The likely tokens at a place, of the members that take part and have a boundary there. Where no member has
        one, the text's token is the only one known.
        """
        tops = {name: members[name].tops[place] for name in part.weights if place in members[name].tops}
        total = sum(part.weights[name] for name in tops)
        likely: dict[int, float] = {}
        for name, top in tops.items():
            for token_id, prob in top:
                likely[token_id] = likely.get(token_id, 0.0) + prob * (part.weights[name] / total if total else 0.0)
        # What begins as the text goes on is the text's token, whose bytes have a probability of their own.
        others = {
            other: value
            for other, value in _told(self._union, likely.items())
            if not (other and token.startswith(other))
        }
        return tuple(sorted((others | {token: log_prob}).items(), key=lambda item: -item[1]))

    # --- by pieces

    def _of_pieces(self, ids: tuple[int, ...], num_bytes: int) -> Score:
        """What was read is kept without its distributions; where these are needed, what the rules made of it is."""
        read = partial(read_pieces, self.prompt, ids, self.rules.gate)
        if len(self.prompt.members) > 1 and self.rules.needs_distributions:
            rules = tuple(type(registry.of(self.settings)) for registry in REGISTRIES)
            cut = ids, self.settings.model_dump_json(), rules
            steps, seconds = self._once(cut, num_bytes, lambda: list(self._steps(read())))
        else:
            kept, seconds = self._once(ids, num_bytes, lambda: [replace(one, distributions={}) for one in read()])
            steps = list(self._steps(kept))
        return _score_of(steps, num_bytes, seconds)

    def _steps(self, pieces: Iterable[PieceRead]) -> Iterator[Step]:
        """Of pieces that were read, one per step."""
        rules = self.rules.restarted()
        for piece in pieces:
            weights = piece.weights(rules)
            is_exact = rules.combiner.is_linear or len(weights) == 1
            least = LEAST_LOG_PROB if is_exact else math.log(_LEAST_PROB)
            yield max(piece.log_prob(rules, weights), least), weights

    def _tokens_by_pieces(self, ids: Sequence[int], num_top: int) -> list[TokenScore]:
        rules, scores = self.rules.restarted(), []
        for piece in read_pieces(self.prompt, ids, rules.gate):
            weights = piece.weights(rules)
            mixed = next(iter(piece.distributions.values()))
            if num_top and len(weights) > 1:
                mixed = TokenDistribution(piece.combined_U(rules, weights))
            top = _told(self._union, mixed.top_k(num_top)) if num_top else ()
            scores.append(TokenScore(self._union.token(piece.token_id), piece.log_prob(rules, weights), top))
        return scores

    def _once(self, cut: Hashable, num_bytes: int, read: Callable[[], Any]) -> tuple[Any, float]:
        key = self.prompt.key, self.rules.gate.key, cut
        return self.read_texts.get_or_compute(key, num_bytes, read)


def _score_of(steps: list[Step], num_bytes: int, seconds: float) -> Score:
    log_prob, num_ensembled = sum(one for one, _ in steps), sum(len(weights) > 1 for _, weights in steps)
    return Score(log_prob, num_bytes, len(steps), num_ensembled, seconds)


def _told(union: UnionVocabulary, top: Iterable[tuple[int, float]]) -> Top:
    return tuple((union.token(token_id), log(prob)) for token_id, prob in top)


def score_ids(prompt: ReadPrompt, ids: Sequence[int], num_top: int) -> list[TokenScore]:
    """How probable each of a member's own ids is.

    Args:
        prompt: holds the first one, in that member.

    Raises:
        SessionStopped: soon after `prompt.stopped` is set.
    """
    [member] = prompt.members
    mapping, union = member.mapping, member.mapping.union
    tokens = [mapping.vocabulary.token_bytes[own] or b"" for own in ids]
    scores = [TokenScore(token, None) for token in tokens[:1]]
    [sequence] = prompt.sequences()
    found = chain.from_iterable(prompt.parts(member, sequence, [(own,) for own in ids[1:]]))
    for own, token, distribution in zip(ids[1:], tokens[1:], found, strict=True):
        place = union.end_id if own in mapping.vocabulary.end_ids else union.ids.get(token)
        log_prob = -math.inf if place is None else distribution.log_prob_of(place)
        scores.append(TokenScore(token, log_prob, _told(union, distribution.top_k(num_top))))
    return scores


def bits_per_byte(prompt: ReadPrompt, text: str) -> float:
    """Of a text under a member alone, which reads it as it reads prompts; of a long one, its end counts. What the union
    lacks, since some member has no token for it, does not count. Nothing of it is cached.

    Args:
        prompt: holds what is before the text, in that member.
    """
    [member], [ids], data = prompt.members, prompt.ids, bytes_of(text[-_PROMPT_CHARS_READ:])
    read = spaced_ids(member, data, ids) or member.mapping.vocabulary.encode(data.decode())
    _, *scores = score_ids(prompt, [*ids[-1:], *read], num_top=0)
    known = [score.log_prob or 0.0 for score in scores if score.token in member.mapping.union.ids]
    return Score(sum(max(one, LEAST_LOG_PROB) for one in known), len(data), 0, 0).bits_per_byte
