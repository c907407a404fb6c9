"""Tokens of different vocabularies that begin alike: contested tokens and covers. Knows no forward pass."""

from gac_app.decoding.alignment.boundary import Boundary
from gac_app.decoding.alignment.boundary_conflict import (
    BoundaryConflict,
    boundary_conflicts,
    merge,
    partial_probs,
    surely_ends,
)
from gac_app.decoding.alignment.covers import Covers

__all__ = [
    "Boundary",
    "BoundaryConflict",
    "Covers",
    "boundary_conflicts",
    "merge",
    "partial_probs",
    "surely_ends",
]
