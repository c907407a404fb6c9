"""Alignment: how members of different vocabularies agree on the next piece.

`paper`: equal tokens, and no others, add up (paper, section 3.1). Where one member's token is the beginning of
    another's (three spaces and four, the first byte of a character and the character), their probabilities compete,
    although the members agree.

`prefix`: a union token is *contested* where one member's tokens end after it while another's go on. It takes the
    probability of everything that begins with it, so that such members add up. A member whose token goes on stays
    inside that token (`covers`). Everywhere else the two alignments are the same. The pieces to choose from remain
    exclusive, and their probabilities sum to 1.

Shape suffix: `U` the union vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Sequence as SequenceOf
from typing import NamedTuple

import torch

from gac_app.decoding.distribution import CLEARLY, Cut, CutBounds, MemberStep, TokenDistribution
from gac_app.vocab.union import UnionVocabulary

_MAY_END = 0.1  # at this share of a member's probability for a beginning, its token may end there
_ENDS = 0.9  # at this share it surely does
_NUM_TOP = 8  # of a member's likeliest tokens
_LEAST_PROB = 0.001  # least probability of these
_ODDS_RATIO = 10.0  # of two members' odds to end there; at this ratio they cut differently
_LEAST_SHARE = 0.05  # a member with a smaller share of the weighted probability for a beginning is ignored


def contested_ranges(
    member_steps: Mapping[str, MemberStep], weights: Mapping[str, float], union: UnionVocabulary
) -> list[range]:
    """The ids of each contested token and of all tokens that begin with it; none of these ranges overlap."""
    beginnings = _beginnings(member_steps.values(), union)
    by_member = [step.distribution.cuts(beginnings) for step in member_steps.values()]
    member_weights = [weights[name] for name in member_steps]
    found: list[range] = []
    for ids, *cuts in zip(beginnings, *by_member, strict=True):
        is_inside = found and ids.start in found[-1]  # a beginning of it is contested already
        if not is_inside and _is_contested(cuts, member_weights):
            found.append(ids)
    return found


class MaybeContested(NamedTuple):
    """A token that is contested, or may be.

    Attributes:
        ids: it and all tokens that begin with it.
        most: the most that all of these may have together, in the weighted mean.
        is_sure: that it is contested.
    """

    ids: range
    most: float
    is_sure: bool


def maybe_contested(
    member_steps: Mapping[str, MemberStep], weights: Mapping[str, float], union: UnionVocabulary
) -> list[MaybeContested] | None:
    """What `contested_ranges` may give, from the bounds of distributions that are not whole. None = the bounds are too
    wide to tell.
    """
    if len(member_steps) == 1:
        return []
    known = [step.distribution.likely(_NUM_TOP, _LEAST_PROB) for step in member_steps.values()]
    likely = [pair for pair in known if pair]
    if len(likely) < len(known):
        return None
    partial = {token_id for step in member_steps.values() for token_id in step.distribution.partial_ids}
    sure = partial.union(*(ids for ids, _ in likely))
    beginnings = _extended(sure.union(*(ids for _, ids in likely)), union)
    by_member = [step.distribution.bounded_cuts(beginnings) for step in member_steps.values()]
    member_weights = [weights[name] for name in member_steps]
    found: list[MaybeContested] = []
    for ids, *cuts in zip(beginnings, *by_member, strict=True):
        outer = next((other for other in found if ids.start in other.ids), None)
        if outer and outer.is_sure:
            continue
        is_contested = _is_surely_contested(cuts, member_weights)
        if is_contested is not False:
            most = sum(w * (ends[1] + beyond[1]) for (ends, beyond), w in zip(cuts, member_weights, strict=True))
            found.append(MaybeContested(ids, most, bool(is_contested and ids.start in sure and not outer)))
    return found


def _beginnings(member_steps: Iterable[MemberStep], union: UnionVocabulary) -> list[range]:
    """Each token that may be contested, with the longer tokens that begin with it: their ids, in order."""
    return _extended(
        {token_id for step in member_steps for token_id in (*_likely(step), *step.distribution.partial_ids)}, union
    )


def _extended(candidates: set[int], union: UnionVocabulary) -> list[range]:
    beginnings = (union.extensions(union.tokens[token_id]) for token_id in sorted(candidates - {union.end_id}))
    return [ids for ids in beginnings if len(ids) > 1]


def _likely(member_step: MemberStep) -> list[int]:
    """A member's likeliest tokens, without improbable ones."""
    return [token_id for token_id, prob in member_step.distribution.top_k(_NUM_TOP) if prob >= _LEAST_PROB]


def goes_on(distribution: TokenDistribution, ids: range) -> bool:
    """Whether a member's tokens go on beyond the first token of `ids`; all of `ids` begin with it.

    Raises:
        MemberError: its server was asked for more, and failed.
    """
    while not distribution.is_whole:
        [((least_end, most_end), (least_beyond, most_beyond))] = distribution.bounded_cuts([ids])
        if CLEARLY * most_end * (1 - _MAY_END) <= _MAY_END * least_beyond:
            return True
        if least_end * (1 - _MAY_END) > CLEARLY * _MAY_END * most_beyond:
            return False
        if not distribution.know(ids) and not distribution.widen():
            break
    [(ends, begun_with_it)] = distribution.cuts([ids])
    return ends <= _MAY_END * begun_with_it


def ends_there(distribution: TokenDistribution, token_id: int, begun_with_it: float) -> bool:
    """Whether a member's token surely ends with this one.

    Args:
        begun_with_it: its probability of everything that begins with this token.
    """
    return distribution.ends_at(token_id) >= _ENDS * begun_with_it


def _is_contested(cuts: SequenceOf[Cut], weights: SequenceOf[float]) -> bool:
    """Given each member's cut: what ends with a beginning, and all that begins with it."""
    if all(ends >= _ENDS * begun_with_it for ends, begun_with_it in cuts):  # mostly
        return False
    masses = [weight * begun_with_it for (_, begun_with_it), weight in zip(cuts, weights, strict=True)]
    least = _LEAST_SHARE * sum(masses)
    counted = [cut for cut, mass in zip(cuts, masses, strict=True) if cut[1] > 0 and mass >= least]
    all_end = all(ends >= _ENDS * begun_with_it for ends, begun_with_it in counted)
    all_go_on = all(ends < _MAY_END * begun_with_it for ends, begun_with_it in counted)
    if all_end or all_go_on:
        return False
    odds = [ends / max(begun_with_it - ends, 1e-9) for ends, begun_with_it in counted]
    return max(odds) >= _ODDS_RATIO * min(odds)


def _is_surely_contested(cuts: SequenceOf[CutBounds], weights: SequenceOf[float]) -> bool | None:
    """As `_is_contested`, from bounds; None = uncertain.

    Of the members counted, some odds to end there must be below what "surely ends" means, some above what "goes on"
    means, and the largest ten times the smallest.
    """
    surely_ends, surely_goes_on = _ENDS / (1 - _ENDS), _MAY_END / (1 - _MAY_END)
    if all(ends[0] > CLEARLY * surely_ends * beyond[1] for ends, beyond in cuts):  # mostly
        return False
    masses = [
        (weight * (ends[0] + beyond[0]), weight * (ends[1] + beyond[1]))
        for (ends, beyond), weight in zip(cuts, weights, strict=True)
    ]
    least, most = (_LEAST_SHARE * sum(bound) for bound in zip(*masses, strict=True))
    may_count = [cut for cut, mass in zip(cuts, masses, strict=True) if mass[1] * CLEARLY >= least]
    is_certain = len(may_count) == sum(mass[0] > most * CLEARLY for mass in masses)
    odds = [(ends[0] / max(beyond[1], 1e-9), ends[1] / max(beyond[0], 1e-9)) for ends, beyond in may_count]
    (lows, highs) = zip(*odds, strict=True) if odds else ((0.0,), (0.0,))
    # Fewer members have a narrower range of odds, so this holds for all that may count.
    if (
        min(lows) > CLEARLY * surely_ends
        or CLEARLY * max(highs) < surely_goes_on
        or CLEARLY * max(highs) < _ODDS_RATIO * min(lows)
    ):
        return False
    is_spread = max(lows) > CLEARLY * surely_goes_on and max(lows) > CLEARLY * _ODDS_RATIO * min(highs)
    return True if is_certain and is_spread and CLEARLY * min(highs) < surely_ends else None


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
