"""Temperature scaling (Guo et al. 2017): one number that divides all logits, fitted on known answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gac_app.evaluation.metrics.calibration import Calibration, ScoredChoices, calibration_of

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0


@dataclass(frozen=True, slots=True)
class TemperatureScaling:
    """A temperature fitted on one half of the questions, and its effect on the other half.

    Attributes:
        temperature: above 1 = the system was overconfident; None = none fits, because of too few questions or answers
            no better than chance.
        num_fitted: questions used for the fit.
        before, after: the calibration on the other questions, without and with it; None without a temperature.
    """

    temperature: float | None
    num_fitted: int
    before: Calibration
    after: Calibration | None


def scale_temperature(scored: Sequence[ScoredChoices]) -> TemperatureScaling:
    """Fit on the questions at even places, check on those at odd places; needs two or more.

    Alternate questions, so that a file sorted by domain has all of them in both halves.
    """
    fitted, checked = scored[::2], scored[1::2]
    temperature = fit_temperature(fitted)
    before = calibration_of(checked)
    if not 1.01 * MIN_TEMPERATURE < temperature < 0.99 * MAX_TEMPERATURE:  # the search ended at its bound
        return TemperatureScaling(None, len(fitted), before, None)
    return TemperatureScaling(temperature, len(fitted), before, calibration_of(checked, temperature))


def fit_temperature(scored: Sequence[ScoredChoices]) -> float:
    """The temperature with the smallest negative log-likelihood, from 0.01 to 100.

    The likelihood is convex in 1 / temperature, so its slope changes sign at most once.
    """
    from scipy.optimize import brentq

    low, high = math.log(MIN_TEMPERATURE), math.log(MAX_TEMPERATURE)
    if _excess(scored, MIN_TEMPERATURE) <= 0:
        return MIN_TEMPERATURE
    if _excess(scored, MAX_TEMPERATURE) >= 0:
        return MAX_TEMPERATURE
    return math.exp(brentq(lambda log_temperature: _excess(scored, math.exp(log_temperature)), low, high))


def _excess(scored: Sequence[ScoredChoices], temperature: float) -> float:
    """By how much the expected logits exceed those of the right choices; above 0, a higher temperature is likelier."""
    excess = 0.0
    for question in scored:
        logits_C = question.logits(temperature)
        excess += float(np.dot(np.exp(logits_C), logits_C) - logits_C[question.answer])
    return excess
