"""Figures of members and of mixtures of two, from readings alone.

Shape suffixes: `N` questions, `W` weights of the first member, `T` texts of a question, `S` pieces between places that
both members share, `K` likely tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gac_app.evaluation.registered.readings import Reading, Readings


@dataclass(frozen=True, slots=True, eq=False)
class MemberFigures:
    """Of a member alone, by question: bits of the right text, and whether that text has the fewest bits per byte."""

    bits_N: np.ndarray
    is_right_N: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class PairFigures:
    """Of the mixtures of two members, by question.

    Attributes:
        bits_NW, is_right_NW: as of a member.
        places_N: places in the right text at which both members' distributions are known.
        differ_N: those of them at which their argmax tokens differ.
        hits_N2, hits_NW: those at which the argmax of a member, and of the mixture, is what the text goes on with.
    """

    bits_NW: np.ndarray
    is_right_NW: np.ndarray
    places_N: np.ndarray
    differ_N: np.ndarray
    hits_N2: np.ndarray
    hits_NW: np.ndarray


def member_figures(read: Sequence[Readings], rights: Sequence[int], name: str) -> MemberFigures:
    """Args: rights: which text of each question is right."""
    found = [
        (of_all[name][right].bits, np.argmin([r.bits / r.num_bytes for r in of_all[name]]) == right)
        for of_all, right in zip(read, rights, strict=True)
    ]
    return MemberFigures(np.array([bits for bits, _ in found]), np.array([is_right for _, is_right in found]))


def pair_figures(
    read: Sequence[Readings], rights: Sequence[int], names: tuple[str, str], weights: Sequence[float]
) -> PairFigures:
    """Args: weights: of the first of `names`."""
    weights_W, bits, is_right, agreed = np.array(weights), [], [], []
    for of_all, right in zip(read, rights, strict=True):
        texts = list(zip(of_all[names[0]], of_all[names[1]], strict=True))
        bits_TW = np.array([mixed_bits(*both, weights_W) for both in texts])
        num_bytes_T1 = np.array([[first.num_bytes] for first, _ in texts])
        bits.append(bits_TW[right])
        is_right.append((bits_TW / num_bytes_T1).argmin(0) == right)
        agreed.append(_argmaxes(*texts[right], weights_W))
    places, differ, hits_2, hits_W = zip(*agreed, strict=True)
    return PairFigures(*map(np.array, (bits, is_right, places, differ, hits_2, hits_W)))


def mixed_bits(first: Reading, second: Reading, weights_W: np.ndarray) -> np.ndarray:
    """Bits of a text under the means of two members, [W]."""
    return np.asarray(piece_bits(first, second, weights_W).sum(1))


def piece_bits(first: Reading, second: Reading, weights_W: np.ndarray) -> np.ndarray:
    """The same by piece, [W, S]. Between two places that the members share each counts as a whole, as in
    `decoding.scoring.bytes`.
    """
    places = shared_places(first, second)
    first_S, second_S = (np.diff([reading.log_probs[place] for place in places]) for reading in (first, second))
    weights_W1 = weights_W[:, None]
    mixed_WS = np.logaddexp(np.log(weights_W1) + first_S, np.log1p(-weights_W1) + second_S)
    return np.asarray(-mixed_WS / np.log(2))


def shared_places(first: Reading, second: Reading) -> list[int]:
    """Where tokens of both members surely end, the beginning and the end of the text included."""
    return sorted(first.log_probs.keys() & second.log_probs.keys())


def _argmaxes(first: Reading, second: Reading, weights_W: np.ndarray) -> tuple[int, int, np.ndarray, np.ndarray]:
    """Places, those at which the argmax tokens differ, and hits: [2] of the members, [W] of the mixtures."""
    differ, hits_2, hits_W = 0, np.zeros(2, int), np.zeros(len(weights_W), int)
    places = [place for place in shared_places(first, second) if place in first.likely and place in second.likely]
    for place in places:
        likely = first.likely[place], second.likely[place]
        differ += likely[0][0].token_id != likely[1][0].token_id
        hits_2 += [one[0].is_right for one in likely]
        rights = {token.token_id: token.is_right for one in likely for token in one}
        probs = [{token.token_id: token.prob for token in one} for one in likely]
        probs_2K = np.array([[of_one.get(token_id, 0.0) for token_id in rights] for of_one in probs])
        mixed_WK = weights_W[:, None] * probs_2K[0] + (1 - weights_W)[:, None] * probs_2K[1]
        hits_W += np.array(list(rights.values()))[mixed_WK.argmax(1)]
    return len(places), differ, hits_2, hits_W
