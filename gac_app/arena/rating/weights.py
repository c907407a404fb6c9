"""How much each vote counts.

One address, one vote: all votes of an address weigh together as one, and so do all votes of a visitor. Keys, days and
pairs therefore multiply nothing. (An address that pauses for a month is another one, since its name rotates.) Behind
one address a visitor's part grows up to `HISTORY` votes, so that invented visitors do not silence the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from gac_app.arena.rating.votes import Floats, Ints

HISTORY = 5  # votes from which on a visitor is known; before, each vote counts n/5 among those of its address


def weights(visitor_N: Ints, address_N: Ints) -> Floats:
    """The weight of each vote, `_N`, between 0 and 1.

    Args:
        visitor_N, address_N: codes. An address below 0 is not known, so it is its visitor's alone.
    """
    if not len(visitor_N):
        return np.ones(0)
    _, visitor_N, num_V = np.unique(visitor_N, return_inverse=True, return_counts=True)
    is_known_N = address_N >= 0
    _, address_N = np.unique(address_N, return_inverse=True)
    votes_N = num_V[visitor_N]
    history_N = np.minimum(1.0, votes_N / HISTORY)
    share_N = history_N / np.bincount(address_N, history_N)[address_N]
    weight_N: Floats = np.minimum(share_N, 1 / votes_N) * np.where(is_known_N, 1.0, history_N)
    return weight_N


def scaled(weight_N: Floats) -> Floats:
    """The weights with their sum the effective number of votes, so that equal ones are 1 each."""
    return weight_N * weight_N.sum() / (weight_N**2).sum() if len(weight_N) else weight_N
