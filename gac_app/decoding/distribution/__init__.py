"""A member's next-token distribution in the union vocabulary. Knows one member at a time."""

from gac_app.decoding.distribution.ranking import argmax, rank_of, top_k_knowing
from gac_app.decoding.distribution.read_result import MayDraft, MemberStep, PendingRead, ReadResult, Stage
from gac_app.decoding.distribution.token_distribution import Cut, TokenDistribution, Top
from gac_app.decoding.distribution.top_k_bounds import TopKBounds

__all__ = [
    "Cut",
    "MayDraft",
    "MemberStep",
    "PendingRead",
    "ReadResult",
    "Stage",
    "TokenDistribution",
    "Top",
    "TopKBounds",
    "argmax",
    "rank_of",
    "top_k_knowing",
]
