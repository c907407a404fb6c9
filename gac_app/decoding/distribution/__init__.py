"""A member's next-token distribution in the union vocabulary. Knows one member at a time."""

from gac_app.decoding.distribution.partial_distribution import PartialDistribution, Told
from gac_app.decoding.distribution.ranking import largest, rank_of, top_k, values_at
from gac_app.decoding.distribution.read_result import (
    MemberStep,
    ReadResult,
    distributions_of,
)
from gac_app.decoding.distribution.scaled_distribution import ScaledDistribution, with_added
from gac_app.decoding.distribution.token_distribution import CLEARLY, BoundsB, TokenDistribution, Top

__all__ = [
    "CLEARLY",
    "BoundsB",
    "MemberStep",
    "PartialDistribution",
    "ReadResult",
    "ScaledDistribution",
    "TokenDistribution",
    "Told",
    "Top",
    "distributions_of",
    "largest",
    "rank_of",
    "top_k",
    "values_at",
    "with_added",
]
