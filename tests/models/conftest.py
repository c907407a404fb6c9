"""Tiny saved models, made once per test run."""

from __future__ import annotations

from pathlib import Path

import pytest

from gac_app.config import MemberConfig
from gac_app.models.sources import ModelFiles
from gac_app.models.transformers_loading import load
from gac_app.models.transformers_model import TransformersModel
from tests.models import tiny


@pytest.fixture(scope="session")
def llama_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def gemma3_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_gemma3(tmp_path_factory.mktemp("gemma3"))


@pytest.fixture
def llama(llama_dir: Path) -> TransformersModel:
    return load_directory(llama_dir)


@pytest.fixture
def gemma3(gemma3_dir: Path) -> TransformersModel:
    return load_directory(gemma3_dir)


def load_directory(directory: Path, **config: object) -> TransformersModel:
    """A directory's model on the CPU, one thread."""
    member = MemberConfig.model_validate({"name": "tiny", "source": str(directory), **config})
    return load(member, ModelFiles(directory, "directory"), directory / "unused", "cpu", 1)
