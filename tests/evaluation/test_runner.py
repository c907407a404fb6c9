"""Several at once, in order, nothing twice, nothing lost."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from gac_app.decoding.ensemble import Ensemble
from gac_app.errors import MemberError
from gac_app.evaluation.running import StudyProgress
from gac_app.evaluation.running.result_cache import Graded, ResultCache
from gac_app.evaluation.running.systems import System, parse_system
from gac_app.evaluation.studies.evaluator import Evaluator
from gac_app.evaluation.tasks.task import load_task
from tests.evaluation.fakes import CAPITALS, CONFIG, FakeEnsemble

SYSTEMS = [parse_system(name, CONFIG) for name in ("alone:a", "every-step")]
RIGHT = {"France": " Paris", "Italy": " Rome", "Poland": " Krakow"}


def _run(
    fake: FakeEnsemble, folder: Path, num_parallel: int = 4, heard: list[StudyProgress] | None = None
) -> dict[System, list[Graded]]:
    ask = Evaluator(cast(Ensemble, fake), load_task("nq"), CAPITALS, folder, parallel=num_parallel)
    ask.on_progress = (heard if heard is not None else []).append
    return ask(SYSTEMS, CAPITALS)


def _cache(folder: Path, system: str) -> Path:
    (path,) = folder.glob(f"nq-{system}-*.jsonl")
    return path


@pytest.mark.parametrize("num_parallel", [1, 3])
def test_no_more_at_once_than_said(tmp_path: Path, num_parallel: int) -> None:
    fake = FakeEnsemble(RIGHT, delays=dict.fromkeys(RIGHT, 0.05))
    _run(fake, tmp_path, num_parallel)
    assert fake.most_at_once == num_parallel


def test_a_question_is_read_once_unless_costs_devices_disjoint(tmp_path: Path) -> None:
    fake = FakeEnsemble(RIGHT)
    _run(fake, tmp_path / "shared")
    assert fake.namespaces == ["evaluation/nq"] * 6  # the worked examples before the questions are computed once
    assert fake.forgotten == ["evaluation"]
    single = FakeEnsemble(RIGHT)
    _run(single, tmp_path / "single", num_parallel=1)
    assert set(single.namespaces) == {""}


def test_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    first = _run(FakeEnsemble(RIGHT), tmp_path)
    path = _cache(tmp_path, "every-step")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:30])
    again, heard = FakeEnsemble(RIGHT), list[StudyProgress]()
    assert _run(again, tmp_path, heard=heard) == first
    assert [alone for _, alone, _ in again.asked] == [None, None]
    assert [(p.num_done, p.num_total, p.num_kept) for p in heard] == [(4, 6, 4), (5, 6, 4), (6, 6, 4)]
    assert _run(FakeEnsemble({}), tmp_path) == first, "nothing is left to ask"


def test_a_failure_is_counted_and_tried_again_next_time(tmp_path: Path) -> None:
    heard = list[StudyProgress]()
    broken = _run(FakeEnsemble({**RIGHT, "Italy": MemberError("b", "exception", "broke")}), tmp_path, heard=heard)
    for given in broken.values():
        assert [answer.error for answer in given] == ["", "b: broke", ""]
    assert heard[-1].num_failed == 2
    mended = FakeEnsemble(RIGHT)
    assert all(not answer.error for given in _run(mended, tmp_path).values() for answer in given)
    assert len(mended.asked) == 2


def test_a_fault_of_ours_keeps_what_was_answered(tmp_path: Path) -> None:
    fake = FakeEnsemble({**RIGHT, "Italy": ZeroDivisionError()}, delays={"Poland": 0.5})
    with pytest.raises(ZeroDivisionError):
        _run(fake, tmp_path, num_parallel=1)
    assert ResultCache(_cache(tmp_path, "alone_a")).answers["fr"].is_right
    assert len(fake.asked) < 6, "what had not begun is called off"


def test_the_time_left_is_judged_by_this_run_alone() -> None:
    assert StudyProgress(num_done=60, num_total=100, num_kept=50, seconds=20.0).seconds_left == 80.0
    assert StudyProgress(num_done=50, num_total=100, num_kept=50, seconds=1.0).seconds_left is None
