"""Temperature scaling (Guo et al. 2017): one number that divides all logits, fitted on known answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gac_app.evaluation.metrics.calibration import Calibration, ScoredChoices, calibration_of

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0
_NUM_HALVINGS = 50


@dataclass(frozen=True, slots=True)
class TemperatureScaling:
    """A temperature fitted on one half of the questions, and what it does to the other half.

    Attributes:
        temperature: above 1 = the system was overconfident; None = none fits: too few questions, or answers no better
            than chance.
        num_fitted: questions it was fitted on.
        before, after: the calibration of the other questions, without and with it; None where there is none.
    """

    temperature: float | None
    num_fitted: int
    before: Calibration
    after: Calibration | None


def scale_temperature(scored: Sequence[ScoredChoices]) -> TemperatureScaling:
    """Fit on the questions at even places, check on those at odd ones; two or more are needed.

    Alternate questions, so that a file sorted by domain has all of them in both halves.
    """
    fitted, checked = scored[::2], scored[1::2]
    temperature = fit_temperature(fitted)
    before = calibration_of(checked)
    if not 1.01 * MIN_TEMPERATURE < temperature < 0.99 * MAX_TEMPERATURE:  # the search ended at its bound
        return TemperatureScaling(None, len(fitted), before, None)
    return TemperatureScaling(temperature, len(fitted), before, calibration_of(checked, temperature))


def fit_temperature(scored: Sequence[ScoredChoices]) -> float:
    """The temperature of the smallest negative log-likelihood, at least 0.01 and at most 100.

    That likelihood is convex in 1 / temperature, so its slope changes sign once: halving finds where.
    """
    low, high = math.log(MIN_TEMPERATURE), math.log(MAX_TEMPERATURE)
    for _ in range(_NUM_HALVINGS):
        middle = (low + high) / 2
        if _is_too_sharp(scored, math.exp(middle)):
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2)


def _is_too_sharp(scored: Sequence[ScoredChoices], temperature: float) -> bool:
    """Whether a higher temperature would be likelier: the mean logit expected exceeds the right choice's."""
    excess = 0.0
    for question in scored:
        logits_C = question.logits(temperature)
        excess += float(np.dot(np.exp(logits_C), logits_C) - logits_C[question.answer])
    return excess > 0
