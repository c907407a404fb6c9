"""Real models: the default ensemble, and a smaller one on both back ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

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


@pytest.fixture(scope="package")
def quantised() -> Iterator[Ensemble]:
    """The smallest ensemble, in 8-bit arithmetic: onnxruntime's or llama.cpp's, whichever is faster."""
    with closing(loaded("cpu-small.yaml")) as ensemble:
        yield ensemble


@pytest.fixture(scope="package")
def default() -> Iterator[Ensemble]:
    """The default ensemble."""
    with closing(loaded("default.yaml")) as ensemble:
        yield ensemble


@pytest.fixture(scope="package")
def float32() -> Iterator[Ensemble]:
    """The same files on transformers."""
    with closing(loaded("transformers-cpu.yaml")) as ensemble:
        yield ensemble
