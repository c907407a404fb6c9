"""A member's next-token distribution in the union vocabulary. Knows one member at a time."""

from gac_app.decoding.distribution.mixed_distribution import MixedDistribution, with_added
from gac_app.decoding.distribution.ranking import rank_of, top_k
from gac_app.decoding.distribution.read_result import (
    Choose,
    MayDraft,
    MemberStep,
    PendingRead,
    ReadResult,
    Stage,
    distributions_of,
)
from gac_app.decoding.distribution.token_distribution import Cut, CutBounds, TokenDistribution, Top
from gac_app.decoding.distribution.told_distribution import Ask, Told, ToldDistribution
from gac_app.decoding.distribution.top_k_bounds import CLEARLY, TopKBounds

__all__ = [
    "CLEARLY",
    "Ask",
    "Choose",
    "Cut",
    "CutBounds",
    "MayDraft",
    "MemberStep",
    "MixedDistribution",
    "PendingRead",
    "ReadResult",
    "Stage",
    "TokenDistribution",
    "Told",
    "ToldDistribution",
    "Top",
    "TopKBounds",
    "distributions_of",
    "rank_of",
    "top_k",
    "with_added",
]
