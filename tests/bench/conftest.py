from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from gac_app.bench.workbench import Workbench
from gac_app.models.base import Model
from tests.fakes import config_of, ensemble_of

BenchOf = Callable[..., Workbench]


@pytest.fixture
def bench_of(tmp_path: Path) -> Iterator[BenchOf]:
    """A quick workbench over fake models that takes `num_tokens` tokens of two prompts."""
    with ExitStack() as opened:

        def make(models: Sequence[Model], num_tokens: int = 16) -> Workbench:
            config = config_of([model.name for model in models])
            bench = Workbench(tmp_path / "none.yaml", config, is_quick=True)
            bench.num_tokens = num_tokens
            bench.__dict__["ensemble"] = opened.enter_context(closing(ensemble_of(models, config)))  # not its own
            return bench

        yield make
