"""The log-probability of a given text under the ensemble. Knows no sampling."""

from gac_app.decoding.scoring.pieces import FEW_AT_ONCE, ReadPrompt
from gac_app.decoding.scoring.scorer import Score, Scorer, TokenScore, bits_per_byte, score_ids
from gac_app.decoding.scoring.single_flight import SingleFlightCache

__all__ = [
    "FEW_AT_ONCE",
    "ReadPrompt",
    "Score",
    "Scorer",
    "SingleFlightCache",
    "TokenScore",
    "bits_per_byte",
    "score_ids",
]
