"""Tokens of different vocabularies that begin alike: contested tokens and covers. Knows no forward pass."""

from gac_app.decoding.alignment.boundary import Boundary
from gac_app.decoding.alignment.contested import (
    MaybeContested,
    contested_ranges,
    ends_there,
    goes_on,
    maybe_contested,
    merge,
)
from gac_app.decoding.alignment.covers import Covers

__all__ = [
    "Boundary",
    "Covers",
    "MaybeContested",
    "contested_ranges",
    "ends_there",
    "goes_on",
    "maybe_contested",
    "merge",
]
