"""The libraries' loops over the default models' files, against which a member alone is timed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

import pytest

from gac_app.bench.library_loops import measure_llama_cpp, measure_transformers
from gac_app.bench.rows import NotMeasured
from gac_app.bench.workbench import PROMPTS, Workbench
from gac_app.environment import DEFAULT_CONFIG, read_config

pytestmark = pytest.mark.real


@pytest.fixture
def bench() -> Iterator[Workbench]:
    with closing(Workbench(DEFAULT_CONFIG, read_config(DEFAULT_CONFIG, os.environ), is_quick=True)) as bench:
        bench.prompts, bench.num_tokens = PROMPTS[:1], 8
        yield bench


@pytest.mark.slow
def test_each_member_is_held_against_llama_cpp(bench: Workbench) -> None:
    rows = measure_llama_cpp(bench)
    assert [row.name.rpartition(": ")[2] for row in rows] == list(bench.config.member_names)
    assert all(row.value is not None and 0.3 < row.value < 10 for row in rows)


def test_none_of_them_runs_on_transformers(bench: Workbench) -> None:
    with pytest.raises(NotMeasured, match="transformers"):
        measure_transformers(bench)
