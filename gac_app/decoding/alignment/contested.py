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

import torch

from gac_app.decoding.distribution import Cut, MemberStep, TokenDistribution
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


def precompute_cuts(member_step: MemberStep, union: UnionVocabulary) -> None:
    """Compute in advance what `contested_ranges` will need, as far as one member's step tells."""
    member_step.distribution.cuts(_beginnings([member_step], union))


def _beginnings(member_steps: Iterable[MemberStep], union: UnionVocabulary) -> list[range]:
    """Each token that may be contested, with the longer tokens that begin with it: their ids, in order."""
    candidates = {token_id for step in member_steps for token_id in (*_likely(step), *step.distribution.partial_ids)}
    beginnings = (union.extensions(union.tokens[token_id]) for token_id in sorted(candidates - {union.end_id}))
    return [ids for ids in beginnings if len(ids) > 1]


def _likely(member_step: MemberStep) -> list[int]:
    """A member's likeliest tokens, without improbable ones."""
    return [token_id for token_id, prob in member_step.distribution.top_k(_NUM_TOP) if prob >= _LEAST_PROB]


def goes_on(distribution: TokenDistribution, ids: range) -> bool:
    """Whether a member's tokens go on beyond the first token of `ids`; all of `ids` begin with it."""
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


def merge(probs_U: torch.Tensor, ranges: list[range]) -> torch.Tensor:
    """Put the probability of each range at its first id, in place; returns `probs_U`.

    Merging before or after the weighted mean gives the same.
    """
    for ids in ranges:
        total = probs_U[ids.start : ids.stop].sum()
        probs_U[ids.start : ids.stop] = 0
        probs_U[ids.start] = total
    return probs_U
