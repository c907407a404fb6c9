"""Tiny saved models, made once per test run, and places that models are fetched from."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from gac_app.member_config import MemberConfig
from gac_app.models.backends import LoadRequest
from gac_app.models.base import Model
from gac_app.models.factory import load_model
from gac_app.models.hardware import Placement
from gac_app.models.hf.loading import load
from gac_app.models.hf.model import TransformersModel
from gac_app.models.sources import ModelFiles
from tests.fakes import after
from tests.models import tiny
from tests.models.loopback import FakeHub
from tests.models.source_tools import REPOSITORY, pip_of, use_endpoint


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
    return load_files(member, ModelFiles(directory, "directory"), directory / "unused")


def check_greedy(model: TransformersModel, own: Any, prompt: list[int], num: int) -> None:
    """The likeliest tokens after a prompt are those that the library's `generate` of its `own` model takes."""
    sequence, found, new = model.new_sequence(), list[int](), prompt
    for _ in range(num):
        new = [int(model.read([after(sequence, new)])[0][-1].argmax())]
        found += new
    how = {"do_sample": False, "max_new_tokens": num, "min_new_tokens": num, "eos_token_id": None, "pad_token_id": 0}
    assert found == own.generate(input_ids=torch.tensor([prompt]), **how)[0, len(prompt) :].tolist()


def load_member(source: Path | str, cache_dir: Path, device: str = "cpu", **config: Any) -> Model:
    """Whatever back end the factory chooses, one thread."""
    member = MemberConfig.model_validate({"name": "tiny", "source": str(source), **config})
    placement = Placement(device, 1, None)
    return load_model(member, placement=placement, cache_dir=cache_dir, on_fetch=lambda _: None, on_load=lambda: None)


def load_files(
    member: MemberConfig, files: ModelFiles, cache_dir: Path, device: str = "cpu", num_threads: int = 1
) -> TransformersModel:
    return load(LoadRequest(member, lambda: files, device, num_threads, cache_dir), files)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels, and pip's stand-in that knows no others. A process of pip takes a second."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setattr(subprocess, "run", pip_of(folder))
    return folder


@pytest.fixture
def pip_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip itself takes for its only index."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(folder), "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    from huggingface_hub import constants

    with FakeHub("org/tiny", dict(REPOSITORY)).running() as fake:
        use_endpoint(monkeypatch, fake.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield fake
