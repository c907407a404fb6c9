"""A member's next-token distribution in the union vocabulary. Knows one member at a time."""

from gac_app.decoding.distribution.member_step import MemberStep
from gac_app.decoding.distribution.ranking import argmax, rank_of, top_k_knowing
from gac_app.decoding.distribution.read_result import Draft, MayDraft, ReadResult
from gac_app.decoding.distribution.token_distribution import Cut, TokenDistribution
from gac_app.decoding.distribution.top_k_bounds import TopKBounds

__all__ = [
    "Cut",
    "Draft",
    "MayDraft",
    "MemberStep",
    "ReadResult",
    "TokenDistribution",
    "TopKBounds",
    "argmax",
    "rank_of",
    "top_k_knowing",
]
