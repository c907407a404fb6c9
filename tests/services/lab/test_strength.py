"""Which of the Lab's results tell how strong the members are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gac_app.evaluation.studies.result import StudyResult
from gac_app.services.lab.lab import Lab
from gac_app.ui.settings.panel import meaning_of
from tests.fakes import config_of
from tests.services.lab.test_lab import store_in, study_pair

CONFIG = config_of(["a", "b"], settings={"mode": "every-step"})


def result(study: str = "eval", task: str = "trivia") -> StudyResult:
    """Member `a` is right twice as often as `b`."""
    return StudyResult(study, f"{task}: 40 questions", [], benchmark_data(task, a=0.8, b=0.4))


def benchmark_data(task: str, **accuracies: float) -> dict[str, Any]:
    best = max(accuracies.values())
    systems = {
        f"alone:{name}": {
            "accuracy": accuracy,
            "errors": 0,
            "vs_best_member": None if accuracy == best else {"delta": accuracy - best, "p": 0.001},
        }
        for name, accuracy in accuracies.items()
    }
    return {"task": task, "n": 40, "systems": systems}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(CONFIG, tmp_path, study_pair, store_in(tmp_path))


def advice(lab: Lab | None) -> str:
    return str(meaning_of(CONFIG, lab, {})["advice"])


def test_a_result_counts_as_soon_as_it_is_kept(lab: Lab) -> None:
    assert advice(lab) == ""
    lab.results.files.keep(result(), ("b", "a"))
    assert advice(lab).startswith("On trivia (40 questions), b lags behind a by 50 %.")
    assert advice(None) == "", "a closed Lab shows nobody its results"


@pytest.mark.parametrize(("study", "members"), [("eval", ("a", "c")), ("eval", ("a", "b", "c")), ("sweep", ("a", "b"))])
def test_other_members_and_other_studies_do_not_count(lab: Lab, study: str, members: tuple[str, ...]) -> None:
    lab.results.files.keep(result(study), members)
    assert advice(lab) == ""
