"""What tests of sources share: a model file, wheels, and how a member is resolved."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from gac_app.member_config import MemberConfig
from gac_app.models.child_process import command_of
from gac_app.models.sources import ModelFiles, resolve

GGUF = b"GGUF" + bytes(range(256)) * 40
SHA256 = hashlib.sha256(GGUF).hexdigest()


def make_wheel(folder: Path, package: str, files: dict[str, bytes]) -> Path:
    info = f"{package}-1.0.dist-info"
    path = folder / f"{package}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, data in files.items():
            wheel.writestr(name, data)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


def pip_of(folder: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Stands for `subprocess.run` where pip would download: a wheel of the folder, or pip's word that there is none."""

    def run(command: list[str], *, stdout: IO[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert command[:5] == command_of("pip", "download")
        assert "--resume-retries" not in command, "pip resumes by itself what breaks"
        wheel = folder / f"{command[-1].replace('==', '-')}-py3-none-any.whl"
        if wheel.exists():
            shutil.copy(wheel, command[command.index("--dest") + 1])
        else:
            stdout.write(f"ERROR: No matching distribution found for {command[-1]}\n")
        return subprocess.CompletedProcess(command, 0 if wheel.exists() else 1)

    return run


def member(**config: object) -> MemberConfig:
    return MemberConfig.model_validate({"name": "tiny", "source": "hub:a/b", **config})


def find(cache: Path, **config: object) -> ModelFiles:
    return resolve(member(**config), cache, lambda progress: None)


def files_in(cache: Path) -> set[str]:
    return {path.name for path in (cache / "models").rglob("*") if path.is_file()}


REPOSITORY = {
    "config.json": b"{}",
    "model.safetensors": b"weights" * 100,
    "tokenizer.json": b"{}",
    "pytorch_model.bin": b"pickle",
    "modeling.py": b"raise SystemExit",
    "README.md": b"# readme",
}


def use_endpoint(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    from huggingface_hub import constants

    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
