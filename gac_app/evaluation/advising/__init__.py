"""Advice on a user's own members: which settings to take, and whether they beat the best member alone."""

from gac_app.evaluation.advising.advice import MAX_FINAL, Advice, HeldOut, Managed, Spending, advise, alone
from gac_app.evaluation.advising.likelihood import Likelihoods
from gac_app.evaluation.advising.wording import pasted, sentences, taken

__all__ = [
    "MAX_FINAL",
    "Advice",
    "HeldOut",
    "Likelihoods",
    "Managed",
    "Spending",
    "advise",
    "alone",
    "pasted",
    "sentences",
    "taken",
]
