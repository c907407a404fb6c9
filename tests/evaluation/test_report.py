"""Figures of a report, worked by hand."""

from __future__ import annotations

import pytest

from gac_app.evaluation.metrics.statistics import wilson_interval
from gac_app.evaluation.running.report import summarise
from gac_app.evaluation.running.result_cache import Graded
from gac_app.evaluation.running.systems import System
from tests.evaluation.fakes import marked

WEAK, STRONG, BOTH = System("alone:a", alone="a"), System("alone:b", alone="b"), System("every-step")


def test_systems_are_compared_with_the_best_member() -> None:
    answers = {WEAK: marked("x......."), STRONG: marked("xx......"), BOTH: marked("xxxxxx..")}
    weak, strong, both = summarise(answers, against=[BOTH]).values()
    assert (weak.accuracy, strong.accuracy, both.accuracy) == (1 / 8, 2 / 8, 6 / 8)
    assert both.interval == wilson_interval(6, 8)
    assert both.vs_best_member is not None
    assert (both.vs_best_member.delta, both.vs_best_member.p) == (0.5, 2 / 16)
    assert strong.vs_best_member is both.vs["every-step"] is None, "no system is compared with itself"
    assert weak.vs["every-step"] is not None
    assert weak.vs["every-step"].delta == -5 / 8


def test_failures_count_as_wrong_and_are_told() -> None:
    report = summarise({BOTH: marked("x!.!", num_tokens=2, seconds=1.0)})[BOTH]
    assert (report.accuracy, report.errors) == (0.25, ["b: broke"] * 2)
    assert report.seconds_per_answer == 1.0, "the cost is that of answers"


def test_costs_are_those_of_all_answers_together() -> None:
    answers = [
        Graded("0", num_tokens=11, num_ensembled=3, seconds=2.0, ttft_s=1.0, member_seconds=3.0),
        Graded("1", num_tokens=1, num_ensembled=0, seconds=1.0, ttft_s=1.0, member_seconds=1.0),
    ]
    report = summarise({BOTH: answers})[BOTH]
    assert report.share_ensembled == 3 / 12
    assert report.ms_per_token == pytest.approx(100.0)  # 1 s for the 10 tokens after the first
    assert (report.seconds_per_answer, report.member_seconds_per_answer) == (1.5, 2.0)


def test_scored_positions_have_no_first_token() -> None:
    report = summarise({BOTH: marked("x.", num_tokens=20, seconds=1.0)})[BOTH]
    assert report.ms_per_token == pytest.approx(50.0)
    assert report.member_seconds_per_answer is None
