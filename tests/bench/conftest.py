from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from gac_app.bench.harness import Harness
from gac_app.models.base import Model
from tests.fakes import config_of, ensemble_of

HarnessOf = Callable[..., Harness]


@pytest.fixture
def harness_of(tmp_path: Path) -> Iterator[HarnessOf]:
    """A quick harness over fake models that takes `num_tokens` tokens of two prompts."""
    with ExitStack() as opened:

        def make(models: Sequence[Model], num_tokens: int = 16) -> Harness:
            config = config_of([model.name for model in models])
            harness = Harness(tmp_path / "none.yaml", config, is_quick=True)
            harness.num_tokens = num_tokens
            harness.__dict__["ensemble"] = opened.enter_context(closing(ensemble_of(models, config)))  # not its own
            return harness

        yield make
