"""The probability of a text under members that are distributions over byte strings (see `covers`), and their mixture.

A member's tokeniser cuts the text at boundaries b_j. With a_j the probability that the member's tokens pass through
b_j, the text's first i bytes have the probability

    P(i) = sum over b_j < i of a_j * (sum of p_j(t) over the tokens t that begin with the bytes from b_j to i)

which counts every cover whose tokens end on those boundaries, apart from the last one. It needs one distribution per
token of the member, all read in a few passes, whatever the other members' tokens are.

The mixture's weights are applied where the members share a boundary; between two shared boundaries each member counts
as a whole. That is the distribution from which decoding with alignment `prefix` chooses, piece by piece.

Shape suffixes: `N` positions, `U` the union vocabulary.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np

from gac_app.decoding.distribution import Top
from gac_app.decoding.member import Member
from gac_app.decoding.rules.answer import StepRules
from gac_app.decoding.rules.gate import Gate, GateView
from gac_app.decoding.rules.weights import LEAST_LOG_PROB
from gac_app.decoding.scoring.pieces import ReadPrompt, log_mean, log_sum
from gac_app.models.sequence import KVSequence
from gac_app.vocab.union import UnionVocabulary

_IS_BOUNDARY = 0.9  # a place where a token ends with this probability is a boundary


@dataclass(frozen=True, slots=True)
class TextProbs:
    """One member's probabilities of a text.

    Attributes:
        log_probs: of its first i bytes, by i from 0 on.
        log_ends: of its first i bytes, with a token ending after them.
        views: what the gate sees, by the place at which one of the member's tokens begins.
        tops: the likeliest tokens there, if they were asked for.
    """

    log_probs: array[float]
    log_ends: array[float]
    views: dict[int, GateView]
    tops: dict[int, Top] = field(default_factory=dict)

    def between(self, start: int, end: int) -> float:
        """Log-probability of the bytes from `start` to `end`, given the bytes before."""
        return self.log_probs[end] - self.log_probs[start]

    def is_boundary(self, place: int) -> bool:
        """Whether a token surely ends there, judged from the bytes before alone."""
        return self.log_ends[place] - self.log_probs[place] >= math.log(_IS_BOUNDARY)


def read_text(
    prompt: ReadPrompt, member: Member, sequence: KVSequence, text: bytes, gate: Gate, num_top: int
) -> TextProbs:
    """Read `text` after the prompt of `sequence`.

    Args:
        num_top: tokens of each `tops`.
    """
    mapping, union = member.mapping, member.mapping.union
    ids = mapping.spell(text)
    nothing = array("d", [0.0, *[-math.inf] * len(text)])
    probs = TextProbs(nothing, nothing[:], {})
    start = 0
    found = chain.from_iterable(prompt.parts(member, sequence, [(own,) for own in ids]))
    for own, distribution in zip(ids, found, strict=True):
        _add_boundary(probs, start, distribution.log_probs_U.cpu().numpy(), text, union)
        probs.views[start] = gate.view(distribution)
        if num_top:
            probs.tops[start] = distribution.top_k(num_top)
        end = start + len(mapping.vocabulary.token_bytes[own] or b"")
        for place in range(start + 1, end + 1):
            # Strings that the union lacks count as very improbable, not as impossible.
            least = probs.log_probs[place - 1] + LEAST_LOG_PROB
            probs.log_probs[place] = max(probs.log_probs[place], least)
        probs.log_ends[end] = max(probs.log_ends[end], probs.log_ends[start] + LEAST_LOG_PROB)
        start = end
    return probs


def read_by_all(prompt: ReadPrompt, text: bytes, gate: Gate, num_top: int = 0) -> dict[str, TextProbs]:
    """As `read_text`, by every member at once, after the prompt; by name."""
    read = partial(read_text, prompt, text=text, gate=gate, num_top=num_top)
    with ThreadPoolExecutor(len(prompt.members)) as pool:
        found = pool.map(read, prompt.members, prompt.sequences())
        return {member.name: probs for member, probs in zip(prompt.members, found, strict=True)}


def _add_boundary(probs: TextProbs, start: int, log_probs_U: np.ndarray, text: bytes, union: UnionVocabulary) -> None:
    """Add the covers whose last token begins at the boundary `start`."""
    reached = probs.log_ends[start]
    for end in range(start + 1, len(text) + 1):
        piece = text[start:end]
        ids = union.extensions(piece)
        begun = log_sum(log_probs_U[ids.start : ids.stop])
        if begun == -math.inf:
            return
        probs.log_probs[end] = np.logaddexp(probs.log_probs[end], reached + begun)
        if union.tokens[ids.start] == piece:
            probs.log_ends[end] = np.logaddexp(probs.log_ends[end], reached + log_probs_U[ids.start])


class Segment(NamedTuple):
    """A part of a text in which each member counts as a whole. `weights`: of the members that take part, by name."""

    start: int
    end: int
    weights: dict[str, float]


def segments(members: Mapping[str, TextProbs], num_bytes: int, rules: StepRules) -> Iterator[Segment]:
    """The segments of a text under the ensemble of `members`, the gate first, by a linear rule. The weights learn from
    each.
    """
    gate, *_ = members.values()
    is_by_all = len(rules.gate.asked_first(list(members))) > 1
    places = range(1, num_bytes) if is_by_all else gate.views
    cutting = members.values() if is_by_all else [gate]
    cuts = [place for place in places if place and all(probs.is_boundary(place) for probs in cutting)]
    for start, end in pairwise([0, *cuts, num_bytes]):
        log_probs = {name: probs.between(start, end) for name, probs in members.items()}
        # A member at a boundary that its tokeniser would not have made cannot overrule the gate.
        views = {name: probs.views[start] for name, probs in members.items() if start in probs.views}
        yield Segment(start, end, rules.mixture_weights_along(log_probs, views))


def log_prob_in(members: Mapping[str, TextProbs], segment: Segment, place: int) -> float:
    """Log-probability of the bytes up to `place`, given those before the segment."""
    given = {name: members[name].between(segment.start, place) for name in segment.weights}
    return log_mean(given, segment.weights)
