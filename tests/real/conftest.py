"""Real models: the default ensemble, and a smaller one on both back ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gac_app.decoding.ensemble import Ensemble
from gac_app.environment import read_config
from gac_app.loading import load_ensemble

CONFIGS = Path(__file__).parents[2] / "configs"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.real)


def loaded(name: str) -> Ensemble:
    """With one thread for each member: other tests run beside these."""
    config = read_config(CONFIGS / name, os.environ)
    members = tuple(member.model_copy(update={"num_threads": 1}) for member in config.members)
    return load_ensemble(config.model_copy(update={"members": members}))


def opened(name: str) -> Any:
    """A fixture: the ensemble of a configuration."""

    @pytest.fixture(scope="package")
    def ensemble() -> Iterator[Ensemble]:
        with closing(loaded(name)) as ensemble:
            yield ensemble

    return ensemble


default = opened("default.yaml")
quantised = opened("cpu-small.yaml")  # in 8-bit arithmetic: onnxruntime's or llama.cpp's, whichever is faster
float32 = opened("transformers-cpu.yaml")  # the same files
