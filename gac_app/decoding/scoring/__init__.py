"""The log-probability of a given text under the ensemble. Knows no sampling."""

from gac_app.decoding.scoring.pieces import PromptForks, Score
from gac_app.decoding.scoring.scorer import Mix, ReadTexts, Scorer, prompt_key, rules_key

__all__ = ["Mix", "PromptForks", "ReadTexts", "Score", "Scorer", "prompt_key", "rules_key"]
