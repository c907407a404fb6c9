"""The battery of answers, over models whose last bits tell what else is in a pass, and over models whose do not."""

from __future__ import annotations

import pytest

from gac_app.bench import reproducible
from gac_app.models.base import Model
from tests.bench.conftest import BenchOf
from tests.decoding.test_reproducible import RoundingModel
from tests.fakes import FakeModel


@pytest.mark.slow
@pytest.mark.parametrize("is_rounding", [False, True])
def test_what_runs_beside_an_answer_is_found_out(
    is_rounding: bool, bench_of: BenchOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind: type[Model] = RoundingModel if is_rounding else FakeModel
    bench = bench_of([kind("a", 0), kind("b", 1)])  # type: ignore[call-arg]

    monkeypatch.setattr(bench, "in_child", lambda _: reproducible.digests_alone(bench))
    [digests] = reproducible.measure(bench)
    assert (digests.value == 1, digests.verdict) == (not is_rounding, "missed" if is_rounding else "met")
    assert "several digests" in digests.note or not is_rounding
    num_jobs = len(reproducible.jobs_of(bench))
    assert digests.note.startswith(f"{2 * num_jobs} answers, "), "each, and the turn behind it"
