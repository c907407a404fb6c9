"""Alignment: how members of different vocabularies agree on the next piece.

`paper`: equal tokens, and no others, add up (paper, section 3.1). Where one member's token is the beginning of
    another's (three spaces and four, the first byte of a character and the character), their probabilities compete,
    although the members agree.

`prefix`: a union token is *contested* where one member's tokens end after it while another's go on. It takes the
    probability of everything that begins with it, so that such members add up. A member whose token goes on stays
    inside that token (`covers`). Everywhere else the two alignments are the same. The pieces to choose from remain
    exclusive, and their probabilities sum to 1.

Shape suffixes: `U` the union vocabulary, `M` members, `B` beginnings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from gac_app.decoding.distribution import BoundsB, TokenDistribution
from gac_app.vocab.union import UnionVocabulary

_MAY_END = 0.1  # from this part of a member's probability for a beginning on, its token may end there
_ENDS = 0.9  # from this part on it surely does
_NUM_TOP = 8  # of a member's likeliest tokens
_LEAST_PROB = 0.001  # least probability of these
_ODDS_RATIO = 10.0  # of two members' odds to end there; at this ratio they cut differently
_LEAST_PART = 0.05  # a member with a smaller part of the weighted probability for a beginning is ignored

BoolsB = npt.NDArray[np.bool_]
FloatsB = npt.NDArray[np.float64]


class BoundaryConflict(NamedTuple):
    """A token that is contested, or may be: some members' tokens end there, others' go on.

    Attributes:
        ids: it and all tokens that begin with it.
        most: the most that all of these may have together, in the weighted mean.
        is_sure: that it is contested.
    """

    ids: range
    most: float
    is_sure: bool


def boundary_conflicts(
    distributions: Mapping[str, TokenDistribution], weights: Mapping[str, float], union: UnionVocabulary
) -> list[BoundaryConflict] | None:
    """The contested tokens, and those that may be. None = the bounds of the distributions are too wide to tell.

    The ranges of those that surely are do not overlap; where the distributions are whole, all surely are.
    """
    if len(distributions) == 1:
        return []
    likely = [distribution.likely(_NUM_TOP, _LEAST_PROB) for distribution in distributions.values()]
    sure = {token_id for distribution in distributions.values() for token_id in distribution.partial_ids}
    maybe = set(sure)
    for known in likely:
        if known is None:
            return None
        sure |= known[0]
        maybe |= known[1]
    tokens = [union.tokens[token_id] for token_id in sorted(maybe - {union.end_id})]
    beginnings = [ids for ids in map(union.extensions, tokens) if len(ids) > 1]
    if not beginnings:
        return []
    masses = [distribution.prefix_mass_bounds(beginnings) for distribution in distributions.values()]
    is_sure_B, may_be_B, most_B = _are_conflicts(masses, np.array([[weights[name]] for name in distributions]))
    found: list[BoundaryConflict] = []
    for at in np.flatnonzero(may_be_B).tolist():
        ids = beginnings[at]
        outer = next((other for other in found if ids.start in other.ids), None)
        if not outer or not outer.is_sure:
            is_sure = bool(is_sure_B[at]) and ids.start in sure and not outer
            found.append(BoundaryConflict(ids, float(most_B[at]), is_sure))
    return found


def _are_conflicts(masses: list[tuple[BoundsB, BoundsB]], weights_M1: FloatsB) -> tuple[BoolsB, BoolsB, FloatsB]:
    """Which of the beginnings surely are contested, which may be, and the most that each has, from what each
    member has there.

    A beginning is contested where of the members that count not all surely end there, not all go on, and the largest
    odds to end there are ten times the smallest. Fewer members have a narrower range of odds.
    """
    (ends_low, ends_high), (on_low, on_high) = np.array(masses).transpose(1, 2, 0, 3)  # each [M, B]
    low, high = weights_M1 * (ends_low + on_low), weights_M1 * (ends_high + on_high)
    counts = (low >= _LEAST_PART * high.sum(0)) & (ends_low + on_low > 0)
    may_count = (high >= _LEAST_PART * low.sum(0)) & (ends_high + on_high > 0)
    ends = ends_low >= _ENDS * (ends_low + on_high)
    does_not_end = ends_high < _ENDS * (ends_high + on_low)
    goes_on = ends_high < _MAY_END * (ends_high + on_low)
    may_end = ends_low >= _MAY_END * (ends_low + on_high)
    odds_low, odds_high = ends_low / np.maximum(on_high, 1e-9), ends_high / np.maximum(on_low, 1e-9)
    are_alike = (ends | ~may_count).all(0) | (goes_on | ~may_count).all(0)
    are_close = (odds_high * may_count).max(0) < _ODDS_RATIO * odds_low.min(0, where=may_count, initial=np.inf)
    are_spread = (odds_low * counts).max(0) >= _ODDS_RATIO * odds_high.min(0, where=counts, initial=np.inf)
    differ = (does_not_end & counts).any(0) & (may_end & counts).any(0) & are_spread
    return differ & (counts == may_count).all(0), ~(are_alike | are_close), high.sum(0)


def extends_beyond(distribution: TokenDistribution, ids: range) -> bool:
    """Whether a member's tokens go on beyond the first token of `ids`; all of `ids` begin with it.

    Raises:
        MemberError: its server was asked for more, and failed.
    """
    while not distribution.is_whole:
        (least_end, most_end), (least_beyond, most_beyond) = distribution.prefix_mass_bounds([ids])
        if most_end[0] * (1 - _MAY_END) <= _MAY_END * least_beyond[0]:
            return True
        if least_end[0] * (1 - _MAY_END) > _MAY_END * most_beyond[0]:
            return False
        if not distribution.fetch_logprobs(ids) and not distribution.fetch_more():
            break
    return distribution.ends_at(ids.start) <= _MAY_END * distribution.prob_within(ids)


def partial_probs(
    token_id: int,
    distributions: Mapping[str, TokenDistribution],
    union: UnionVocabulary,
    is_contested: bool,
    alone: str,
) -> dict[str, float]:
    """The members whose token may go on beyond this one, by name, with their probability of its bytes.

    Args:
        is_contested: all of them may then go on.
        alone: a member that chose one of its own tokens; "" = none.

    Raises:
        MemberError: a server was asked for more, and failed.
    """
    ids = union.extensions(union.tokens[token_id])
    return {
        name: distribution.prob_within(ids)
        for name, distribution in distributions.items()
        if is_contested
        or token_id in distribution.partial_ids
        or (name != alone and len(ids) > 1 and extends_beyond(distribution, ids))
    }


def surely_ends(distribution: TokenDistribution, token_id: int, begun_with_it: float) -> bool:
    """Whether a member's token surely ends with this one.

    Args:
        begun_with_it: its probability of everything that begins with this token.
    """
    return distribution.ends_at(token_id) >= _ENDS * begun_with_it


def merge(probs_U: torch.Tensor, ranges: list[range], mergeable_U: torch.Tensor | None = None) -> torch.Tensor:
    """Put the probability of each range at its first id, in place; returns `probs_U`.

    Merging before or after the weighted mean gives the same.

    Args:
        mergeable_U: 0 for tokens that keep their probability; None = there are none.
    """
    for ids in ranges:
        probs = probs_U[ids.start : ids.stop]
        merged = probs.clone() if mergeable_U is None else probs * mergeable_U[ids.start : ids.stop].to(probs.device)
        probs -= merged
        probs[0] += merged.sum()
    return probs_U
