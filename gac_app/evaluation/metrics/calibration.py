"""Calibration: whether a system that says 70 % is right seven times in ten (paper, table 1). And temperature scaling
(Guo et al. 2017): one number that divides all logits, fitted on known answers.

A system's probabilities over a question's choices are the softmax of the choices' log-probabilities. Its confidence is
the largest of them. Unlike in `eval`, nothing is divided by a choice's length, since the result would not be a
probability.

Shape suffixes: `N` questions, `C` the choices of one question.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0
NUM_BINS = 15  # as in torchmetrics and in most papers since Guo et al. (2017)
_MIN_LOG_PROB = -1e4  # nats: keeps impossible answers finite
_NUM_DRAWS = 200
_SEED = 0


@dataclass(frozen=True, slots=True)
class ScoredChoices:
    """A system's answer to one question.

    Attributes:
        log_probs: of the choices, in nats, two or more.
        answer: the index of the right one.
    """

    log_probs: tuple[float, ...]
    answer: int

    def logits(self, temperature: float = 1.0) -> Floats:
        """Normalised log-probabilities over the choices, with logits divided by `temperature`; shape [C], finite."""
        logits_C = np.maximum(self.log_probs, _MIN_LOG_PROB) / temperature
        logits_C -= logits_C.max()
        return np.asarray(logits_C - np.log(np.exp(logits_C).sum()))


@dataclass(frozen=True, slots=True)
class Bin:
    """Predictions of similar confidence: their number, mean confidence, and accuracy."""

    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """How well confidences match accuracy. All errors range from 0 (perfect) to 1.

    Attributes:
        confidence: the mean; above `accuracy` = overconfident.
        ece: expected calibration error of the confidence, bins of equal width, as torchmetrics computes it.
        chance_ece: the expected `ece` if these confidences were perfectly calibrated. With few questions it is never 0;
            an `ece` not above it shows no miscalibration.
        adaptive_ece: the same with bins of equal counts. Below about 150 questions it says little, since bins hold so
            few.
        classwise_ece: that of each choice's probability, by place among the choices, averaged over places.
        nll: mean negative log-probability of the right choice, in nats.
        bins: the reliability diagram: of equal width, without empty ones.
    """

    num_questions: int
    accuracy: float
    confidence: float
    ece: float
    chance_ece: float
    adaptive_ece: float
    classwise_ece: float
    nll: float
    bins: tuple[Bin, ...]


def calibration_of(scored: Sequence[ScoredChoices], temperature: float = 1.0) -> Calibration:
    """The calibration on these questions, at least one, with logits divided by `temperature`."""
    logits_NC = [question.logits(temperature) for question in scored]
    probs_NC = [np.exp(logits_C) for logits_C in logits_NC]
    answers_N = np.array([question.answer for question in scored])
    confidences_N = np.array([probs_C.max() for probs_C in probs_NC])
    hits_N = np.array([probs_C.argmax() for probs_C in probs_NC]) == answers_N
    bins = equal_width_bins(confidences_N, hits_N)
    return Calibration(
        num_questions=len(scored),
        accuracy=float(hits_N.mean()),
        confidence=float(confidences_N.mean()),
        ece=calibration_error(bins),
        chance_ece=_chance_error(confidences_N),
        adaptive_ece=calibration_error(equal_count_bins(confidences_N, hits_N)),
        classwise_ece=_classwise_error(probs_NC, answers_N),
        nll=-float(np.mean([logits_C[q.answer] for logits_C, q in zip(logits_NC, scored, strict=True)])),
        bins=tuple(bins),
    )


def calibration_error(bins: Sequence[Bin]) -> float:
    """The mean distance between confidence and accuracy, with bins weighted by their predictions."""
    distance = sum(found.count * abs(found.confidence - found.accuracy) for found in bins)
    return float(distance / sum(found.count for found in bins))


def equal_width_bins(confidences_N: Floats, hits_N: NDArray[Any], num_bins: int = NUM_BINS) -> list[Bin]:
    """Bins [0, 1/n), [1/n, 2/n), ... and, as in torchmetrics, one for exactly 1; without empty ones."""
    places_N = _places(confidences_N, num_bins)
    return [_bin(confidences_N[places_N == place], hits_N[places_N == place]) for place in np.unique(places_N)]


def equal_count_bins(confidences_N: Floats, hits_N: NDArray[Any], num_bins: int = NUM_BINS) -> list[Bin]:
    """Bins of nearly equal counts, by rising confidence."""
    parts = np.array_split(np.argsort(confidences_N, kind="stable"), min(num_bins, len(confidences_N)))
    return [_bin(confidences_N[part], hits_N[part]) for part in parts]


def _bin(confidences_N: Floats, hits_N: NDArray[Any]) -> Bin:
    return Bin(len(hits_N), float(confidences_N.mean()), float(hits_N.mean()))


def _places(confidences_N: Floats, num_bins: int) -> NDArray[np.intp]:
    return np.searchsorted(np.linspace(0, 1, num_bins + 1), confidences_N, side="right") - 1


def _classwise_error(probs_NC: Sequence[Floats], answers_N: NDArray[Any]) -> float:
    """Kull et al. (2019). A place is averaged over the questions that have it."""
    errors = []
    for place in range(max(map(len, probs_NC))):
        having = [
            (probs_C[place], answer == place)
            for probs_C, answer in zip(probs_NC, answers_N, strict=True)
            if len(probs_C) > place
        ]
        probs_N, is_answer_N = np.array(having, dtype=np.float64).T
        errors.append(calibration_error(equal_width_bins(probs_N, is_answer_N)))
    return float(np.mean(errors))


def _chance_error(confidences_N: Floats) -> float:
    """The mean `ece` over draws in which each prediction is right with its confidence; deterministic."""
    places_N = _places(confidences_N, NUM_BINS)
    drawn_DN = np.random.default_rng(_SEED).random((_NUM_DRAWS, len(confidences_N))) < confidences_N
    gaps_DN = drawn_DN - confidences_N
    in_bin = [gaps_DN[:, places_N == place].sum(axis=1) for place in np.unique(places_N)]
    return float(np.abs(in_bin).sum(axis=0).mean() / len(confidences_N))


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


def scale_temperature(fitted: Sequence[ScoredChoices], checked: Sequence[ScoredChoices]) -> TemperatureScaling:
    """Fit on some questions, check on others; both need one or more."""
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

    if _excess(scored, MIN_TEMPERATURE) <= 0:
        return MIN_TEMPERATURE
    if _excess(scored, MAX_TEMPERATURE) >= 0:
        return MAX_TEMPERATURE
    bounds = math.log(MIN_TEMPERATURE), math.log(MAX_TEMPERATURE)
    return math.exp(brentq(lambda log_temperature: _excess(scored, math.exp(log_temperature)), *bounds))


def _excess(scored: Sequence[ScoredChoices], temperature: float) -> float:
    """By how much the expected logits exceed those of the right choices; above 0, a higher temperature is likelier."""
    logits_NC = [question.logits(temperature) for question in scored]
    pairs = zip(logits_NC, scored, strict=True)
    return sum(float(np.dot(np.exp(logits_C), logits_C) - logits_C[one.answer]) for logits_C, one in pairs)
