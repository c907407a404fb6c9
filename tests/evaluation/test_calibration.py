"""Calibration errors against torchmetrics and by hand; temperature scaling; the study; the command."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from gac_app.errors import GacError, RequestError
from gac_app.evaluation.metrics import calibration as metric
from gac_app.evaluation.metrics.calibration import Bin, ScoredChoices, calibration_of, scale_temperature
from gac_app.evaluation.running.result_cache import Graded
from gac_app.evaluation.running.systems import System
from gac_app.evaluation.studies import calibration as study
from gac_app.evaluation.studies.calibration import SystemCalibration, _plots, _scaling, _unfitted, calibrate_systems
from gac_app.evaluation.tasks.questions import Question
from gac_app.evaluation.tasks.task import Task

LOGITS = hnp.arrays(np.float64, st.tuples(st.integers(2, 60), st.integers(2, 5)), elements=st.floats(-8, 8, width=32))


def _scored(logits_NC: Any, seed: int = 0) -> list[ScoredChoices]:
    answers = np.random.default_rng(seed).integers(0, logits_NC.shape[1], len(logits_NC))
    return [ScoredChoices(tuple(row), int(answer)) for row, answer in zip(logits_NC, answers, strict=True)]


@pytest.mark.slow
@given(st.integers(0, 10_000), st.integers(1, 200), st.integers(2, 5), st.floats(0.1, 5))
def test_ece_is_that_of_torchmetrics(seed: int, count: int, num_choices: int, spread: float) -> None:
    scored = _scored(np.random.default_rng(seed).normal(0, spread, (count, num_choices)), seed)
    probs_NC = np.exp([question.logits() for question in scored])
    # Torchmetrics rounds to float32: what lies on a bin's edge or on 1 it may count elsewhere.
    assume(np.abs(probs_NC.max(axis=1)[:, None] - np.linspace(0, 1, 16)).min() > 1e-7)
    answers_N = torch.tensor([question.answer for question in scored])
    theirs = multiclass_calibration_error(torch.tensor(probs_NC), answers_N, num_choices, n_bins=15)
    assert calibration_of(scored).ece == pytest.approx(float(theirs), abs=1e-6)


def test_questions_may_have_different_numbers_of_choices() -> None:
    found = calibration_of([ScoredChoices((0.0, 0.0), 0), ScoredChoices((0.0, 0.0, math.log(2)), 2)])
    # Places: 0 -> 1/2 and 1/4 (one right), 1 -> 1/2 and 1/4 (none), 2 -> 1/2 (right), each in bins of their own.
    assert found.classwise_ece == pytest.approx(((0.5 + 0.25) / 2 + (0.5 + 0.25) / 2 + 0.5) / 3)


def test_exactly_one_has_a_bin_of_its_own() -> None:
    confidences_N, hits_N = np.array([1.0, 0.97, 0.96]), np.array([1, 0, 1])
    bins = metric.equal_width_bins(confidences_N, hits_N)
    assert bins == [Bin(2, pytest.approx(0.965), 0.5), Bin(1, 1.0, 1.0)]
    theirs = binary_calibration_error(torch.tensor(confidences_N), torch.tensor(hits_N), n_bins=15)
    assert metric.calibration_error(bins) == pytest.approx(float(theirs), abs=1e-6)


def test_a_choice_that_cannot_be_said_keeps_all_figures_finite() -> None:
    found = calibration_of([ScoredChoices((-math.inf, -1.0), 0), ScoredChoices((-math.inf, -math.inf), 1)])
    assert found.nll == pytest.approx((1e4 - 1 + math.log(2)) / 2)
    assert found.accuracy == 0.0


@pytest.mark.slow
@given(LOGITS, st.integers(0, 5))
def test_no_other_temperature_is_likelier(logits_NC: Any, seed: int) -> None:
    scored = _scored(logits_NC, seed)
    best = calibration_of(scored, metric.fit_temperature(scored)).nll
    for temperature in (0.02, 0.3, 1.0, 2.0, 20.0, 90.0):
        assert best <= calibration_of(scored, temperature).nll + 1e-9


TASK = Task(name="quiz", about="A quiz.", kind="choice", ask="Q: {question}\nA:")
QUESTIONS = [
    Question(id="1", question="one?", choices=("x", "y"), answer=0, domain="sums"),
    Question(id="2", question="two?", choices=("x", "y"), answer=1, domain="sums"),
    Question(id="3", question="three?", choices=("x", "y", "z"), answer=0, domain="words"),
]
SURE_OF_NONE = [Graded(question.id, log_probs=(-5.0,) * len(question.choices)) for question in QUESTIONS]


def test_where_no_temperature_fits_none_is_told() -> None:
    always_right = [ScoredChoices((0.0, -1.0), 0)] * 4
    scaling = scale_temperature(always_right[:2], always_right[2:])
    assert (scaling.temperature, scaling.after) == (None, None)
    found = {"alone:a": SystemCalibration(calibration_of(always_right), {}, scaling)}
    [row] = _scaling(found).rows
    assert row[1:] == ["–", "0.269", "–", "–", "0.313", "–"]
    assert _unfitted(found) == ["No temperature fits alone:a: too few questions, or answers no better than chance."]
    assert len(_plots("", found, ["a"])) == 1


def test_a_failed_answer_is_no_missing_question() -> None:
    answers = {System("every-step"): [*SURE_OF_NONE[:2], Graded("3", error="b: broke")]}
    with pytest.raises(GacError, match="every-step: 1 answers failed; the first: b: broke"):
        calibrate_systems(QUESTIONS, answers)


def test_domains_asked_in_turn_are_in_both_halves() -> None:
    """A member gets all sums right and all words wrong."""
    in_turn = [one.model_copy(update={"id": f"{one.id} {n}"}) for n in range(4) for one in QUESTIONS[1:]]
    answers = [Graded(one.id, log_probs=(-2.0, -1.0)) for one in in_turn]
    [found] = calibrate_systems(in_turn, {System("alone:a"): answers}).values()
    assert (found.scaling.num_fitted, found.scaling.before.accuracy) == (4, 0.5)


def test_what_has_no_choices_is_refused() -> None:
    study.check_choices(TASK, QUESTIONS)
    with pytest.raises(RequestError, match="multiple choice"):
        study.check_choices(TASK.model_copy(update={"kind": "generation"}), QUESTIONS)
    with pytest.raises(RequestError, match="needs 'choices'"):
        study.check_choices(TASK, [Question(id="1", question="?", answers=("x",))] * 2)
    with pytest.raises(RequestError, match="expected 2 or more"):
        study.check_choices(TASK, QUESTIONS[:1])
