"""Tokens of different vocabularies that begin alike: contested tokens and covers. Knows no forward pass."""

from gac_app.decoding.alignment.contested import begun, contested_ranges, ends_there, goes_on, merge, prepare
from gac_app.decoding.alignment.covers import Boundary, Covers, whole_characters

__all__ = [
    "Boundary",
    "Covers",
    "begun",
    "contested_ranges",
    "ends_there",
    "goes_on",
    "merge",
    "prepare",
    "whole_characters",
]
