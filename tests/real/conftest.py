"""Real models: the default ensemble, and a smaller one on both back ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gac_app.bootstrap import load_ensemble
from gac_app.decoding.ensemble import Ensemble

CONFIGS = Path(__file__).parents[2] / "configs"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.real)


@pytest.fixture(scope="session")
def quantised() -> Iterator[Ensemble]:
    """The smallest ensemble, in 8-bit arithmetic: onnxruntime's or llama.cpp's, whichever is faster."""
    with closing(load_ensemble(CONFIGS / "cpu-small.yaml")) as ensemble:
        yield ensemble


@pytest.fixture(scope="session")
def default() -> Iterator[Ensemble]:
    """The default ensemble."""
    with closing(load_ensemble(CONFIGS / "default.yaml")) as ensemble:
        yield ensemble


@pytest.fixture(scope="session")
def float32() -> Iterator[Ensemble]:
    """The same files on transformers."""
    with closing(load_ensemble(CONFIGS / "transformers-cpu.yaml")) as ensemble:
        yield ensemble
