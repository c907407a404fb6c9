"""Tokens of different vocabularies that begin alike: contested tokens and covers. Knows no forward pass."""

from gac_app.decoding.alignment.boundary import Boundary
from gac_app.decoding.alignment.contested import Contested, contested_tokens, ends_there, goes_on, merge
from gac_app.decoding.alignment.covers import Covers

__all__ = [
    "Boundary",
    "Contested",
    "Covers",
    "contested_tokens",
    "ends_there",
    "goes_on",
    "merge",
]
