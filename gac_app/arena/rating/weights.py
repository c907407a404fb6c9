"""How much each vote counts.

Votes of one person, and people behind one address, partly say the same thing again. The best weight of n values with
equal correlation r between any two is n / (1 + r(n - 1)) for all of them together (Kish's effective sample size): it
grows with n at first, and never beyond 1/r. The rule is applied twice: to the votes of a visitor, and to the visitors
of an address on one day. So invented visitors gain nothing: their address is full. On top, a visitor without a history
counts little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from gac_app.arena.rating.votes import Floats, Ints

OF_ONE_VISITOR = 0.1  # correlation of two votes of a visitor: all of them count as at most 10
OF_ONE_ADDRESS = 0.4  # of two visitors of an address on one day: all of them count as at most 2.5
HISTORY = 5  # votes from which on a visitor's votes count whole; of fewer, each counts n/5


def weights(visitor_N: Ints, address_N: Ints) -> Floats:
    """The weight of each vote, `_N`, between 0 and 1.

    Args:
        visitor_N, address_N: codes. An address of another day has another code.
    """
    _, visitor_N, num_V = np.unique(visitor_N, return_inverse=True, return_counts=True)
    _, address_N = np.unique(address_N, return_inverse=True)
    votes_N = num_V[visitor_N]
    met_K = np.unique(address_N * len(num_V) + visitor_N)
    visitors_N = np.bincount(met_K // max(1, len(num_V)))[address_N]
    known_N = np.minimum(1.0, votes_N / HISTORY)
    weight_N: Floats = known_N / (1 + OF_ONE_VISITOR * (votes_N - 1)) / (1 + OF_ONE_ADDRESS * (visitors_N - 1))
    return weight_N


def scaled(weight_N: Floats) -> Floats:
    """The weights with their sum the effective number of votes, so that equal ones are 1 each."""
    return weight_N * weight_N.sum() / (weight_N**2).sum() if len(weight_N) else weight_N
