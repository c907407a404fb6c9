"""How members of different vocabularies are brought to agree on the next piece.

`paper`: equal tokens, and no others, add up (paper, section 3.1). Where one member's token begins what another's token
says whole (three spaces and four, the first byte of a character and the character), their probabilities compete, though
the members agree.

`prefix`: a union token is *contested* where one member's tokens end behind it while another's go on. It takes the
probability of everything that begins with it, so that such members add up; those that go on stay inside their token
(`covers`). Everywhere else the two alignments are the same. What the pieces chosen from are stays exclusive, and their
probabilities sum to 1.

Shape suffixes: `U` the union vocabulary, `M` members, `B` beginnings.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import compress

import numpy as np
import numpy.typing as npt
import torch

from gac_app.decoding.expectation import Expectation
from gac_app.decoding.row import Row
from gac_app.vocab.union import UnionVocabulary

FloatMB = npt.NDArray[np.float64]

_MAY_END = 0.1  # share of a member's probability for a beginning from which its token may end there
_ENDS = 0.9  # share from which it surely does
_NUM_LOOKED_AT = 8  # of a member's favourites
_WORTH_A_LOOK = 0.001  # probability from which one is looked at
_ODDS_RATIO = 10.0  # of two members' odds to end there, from which they do not cut alike
_VOICE = 0.05  # share of the weighted probability for a beginning that a member needs to be heard


def contested(expected: Mapping[str, Expectation], weights: Mapping[str, float], union: UnionVocabulary) -> list[range]:
    """The ids of each contested token and of all tokens that begin with it; none of these ranges overlap."""
    candidates = {token_id for e in expected.values() for token_id in (*_wanted(e), *e.row.open_ids)}
    beginnings = [union.extensions(union.tokens[token_id]) for token_id in sorted(candidates - {union.end_id})]
    beginnings = [ids for ids in beginnings if len(ids) > 1]
    if not beginnings:
        return []
    cuts_MB2 = np.array([e.row.cuts(beginnings) for e in expected.values()])
    weights_M = np.array([weights[name] for name in expected])
    found: list[range] = []
    for ids in compress(beginnings, _are_contested(cuts_MB2[..., 0], cuts_MB2[..., 1], weights_M)):
        if not found or ids.start not in found[-1]:  # else what it begins with is contested already
            found.append(ids)
    return found


def _wanted(expectation: Expectation) -> list[int]:
    """A member's favourites, as far as they count."""
    return [token_id for token_id, prob in expectation.favourites(_NUM_LOOKED_AT) if prob >= _WORTH_A_LOOK]


def begun(row: Row, ids: range) -> float:
    """Probability of what begins with the first token of `ids`, which all begin with it."""
    return row.begun_by_each([ids])[0]


def goes_on(row: Row, ids: range) -> bool:
    """Whether a member's tokens go on beyond the first token of `ids`, which all begin with it."""
    [(ends, begun_with_it)] = row.cuts([ids])
    return ends <= _MAY_END * begun_with_it


def ends_there(row: Row, token_id: int, begun_with_it: float) -> bool:
    """Whether a member's token surely ends behind this one, of which it gave `begun_with_it` to the beginning."""
    return row.ends_at(token_id) >= _ENDS * begun_with_it


def _are_contested(ends_MB: FloatMB, begun_MB: FloatMB, weights_M: FloatMB) -> npt.NDArray[np.bool_]:
    """Of each beginning; given the probabilities that a member's token ends there, and that it goes by there, [B]."""
    weighted_MB = weights_M[:, None] * begun_MB
    unheard_MB = (begun_MB <= 0) | (weighted_MB < _VOICE * weighted_MB.sum(0))
    all_end_B = (unheard_MB | (ends_MB >= _ENDS * begun_MB)).all(0)
    all_go_on_B = (unheard_MB | (ends_MB < _MAY_END * begun_MB)).all(0)
    odds_MB = ends_MB / np.maximum(begun_MB - ends_MB, 1e-9)
    most_B, least_B = odds_MB.max(0, where=~unheard_MB, initial=0.0), odds_MB.min(0, where=~unheard_MB, initial=np.inf)
    are_contested_B: npt.NDArray[np.bool_] = ~all_end_B & ~all_go_on_B & (most_B >= _ODDS_RATIO * least_B)
    return are_contested_B


def merge(probs_U: torch.Tensor, ranges: list[range]) -> torch.Tensor:
    """Put the probability of each range at its first id, in place; returns `probs_U`.

    The weighted mean of what is so gathered is what is gathered of the weighted mean.
    """
    for ids in ranges:
        total = probs_U[ids.start : ids.stop].sum()
        probs_U[ids.start : ids.stop] = 0
        probs_U[ids.start] = total
    return probs_U
