"""The log-probability of a given text under the ensemble. Knows no sampling."""

from gac_app.decoding.scoring.pieces import FEW_AT_ONCE, PromptForks, Score
from gac_app.decoding.scoring.prompts import TextScorer, TokenScore, score_ids
from gac_app.decoding.scoring.scorer import Mix, Scorer, SingleFlightCache, prompt_key, rules_key

__all__ = [
    "FEW_AT_ONCE",
    "Mix",
    "PromptForks",
    "Score",
    "Scorer",
    "SingleFlightCache",
    "TextScorer",
    "TokenScore",
    "prompt_key",
    "rules_key",
    "score_ids",
]
