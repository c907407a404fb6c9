"""Which back end runs a member, and what a damaged file does: one clear message, and this process lives on."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from gac_app.errors import ConfigError, ModelLoadError
from gac_app.member_config import MemberConfig
from gac_app.models import factory
from gac_app.models.hf.model import TransformersModel
from gac_app.models.llama_cpp import library as llama_cpp_library
from gac_app.models.llama_cpp.library import LlamaCppMissingError, ProbeCrashed
from gac_app.models.llama_cpp.model import LlamaCppModel
from gac_app.models.random_model import RandomModel
from gac_app.models.sources import ModelFiles
from tests.models.conftest import load_member
from tests.models.tiny_gguf import save_llama_gguf


@pytest.fixture(scope="module")
def gguf(llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama_gguf(llama_dir, tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.mark.process
def test_a_gguf_file_runs_on_llama_cpp(gguf: Path, tmp_path: Path) -> None:
    model = load_member(gguf, tmp_path, context_length=64, chat_template="")
    assert isinstance(model, LlamaCppModel)
    assert (model.name, model.context_length, model.chat_stop_strings) == ("tiny", 64, ("\nUser:",))


@pytest.mark.parametrize("trouble", [LlamaCppMissingError("no wheel"), ProbeCrashed("signal 4")])
def test_without_llama_cpp_it_is_transformers_and_that_is_said(
    trouble: ModelLoadError,
    gguf: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise trouble

    monkeypatch.setattr(llama_cpp_library, "library" if isinstance(trouble, LlamaCppMissingError) else "probe", fail)
    assert isinstance(load_member(gguf, tmp_path), TransformersModel)
    assert f"tiny: {trouble}; it runs on transformers instead" in caplog.text
    with pytest.raises(ModelLoadError, match=f"tiny: {trouble}"):
        load_member(gguf, tmp_path, backend="llama_cpp")


def test_llama_cpp_needs_a_gguf_file(llama_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"members: tiny: backend 'llama_cpp' needs a \.gguf file"):
        load_member(llama_dir, tmp_path, backend="llama_cpp")
    with pytest.raises(ModelLoadError, match="tiny: 'random:1' has no files; expected another source or back end"):
        load_member("random:1", tmp_path, backend="llama_cpp")


def test_a_random_model_needs_no_files(tmp_path: Path) -> None:
    model = load_member("random:7", tmp_path, context_length=99)
    assert isinstance(model, RandomModel)
    assert model.context_length == 99
    with pytest.raises(ConfigError, match="whole number"):
        load_member("random:seven", tmp_path)


@pytest.mark.process
@pytest.mark.parametrize("engine", ["auto", "llama_cpp"])
@pytest.mark.parametrize("damage", ["half", "header", "magic only", "wild length", "zeros behind the header"])
def test_a_damaged_file_is_named_and_the_process_lives_on(damage: str, engine: str, gguf: Path, tmp_path: Path) -> None:
    data = gguf.read_bytes()
    damaged = {
        "half": data[: len(data) // 2],
        "header": data[:1000],
        "magic only": data[:4],
        "wild length": data[:24] + b"\xff" * 8 + data[32:],
        "zeros behind the header": data[:24] + bytes(len(data) - 24),
    }[damage]
    path = tmp_path / "damaged.gguf"
    path.write_bytes(damaged)
    with pytest.raises(ModelLoadError) as caught:
        load_member(path, tmp_path, backend=engine)
    message = str(caught.value)
    assert message.startswith("tiny: ")
    assert "damaged.gguf" in message
    assert "\n" not in message
    assert not [kept for kept in tmp_path.glob("probed/*") if kept.suffix != ".lock"]


def test_a_larger_file_has_more_time_to_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_time(*_: object, timeout_s: float) -> None:
        raise subprocess.TimeoutExpired("child", timeout_s)

    monkeypatch.setattr(llama_cpp_library, "run_module", out_of_time)
    with (tmp_path / "large.gguf").open("wb") as file:
        file.truncate(100_000_000)
    with pytest.raises(ModelLoadError, match=r"large\.gguf: llama\.cpp did not load it within 125 s"):
        llama_cpp_library.probe(tmp_path / "large.gguf", tmp_path)


@pytest.mark.process
def test_a_file_is_tried_once_and_anew_if_changed(gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "copy.gguf"
    path.write_bytes(gguf.read_bytes())
    load_member(path, tmp_path).close()
    with monkeypatch.context() as patched:
        patched.setattr(llama_cpp_library.subprocess, "run", lambda *_, **__: pytest.fail("tried again"))
        load_member(path, tmp_path).close()
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ModelLoadError, match=r"copy\.gguf"):
        load_member(path, tmp_path)


@pytest.mark.parametrize(
    ("kind", "device", "backend", "is_prepared"),
    [
        ("gguf", "cpu", "auto", True),
        ("gguf", "cuda:0", "auto", False),
        ("directory", "cpu", "auto", False),
        ("gguf", "cpu", "llama_cpp", False),
    ],
)
def test_a_graph_is_prepared_for_gguf_files_on_a_cpu(
    kind: Any, device: str, backend: str, is_prepared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[tuple[object, ...]]()
    monkeypatch.setattr("gac_app.models.onnx.parts.onnx_parts", lambda *args: asked.append(args))
    member = MemberConfig.model_validate({"name": "a", "source": "m.gguf", "backend": backend})
    factory.prepare(member, ModelFiles(tmp_path / "m.gguf", kind), device, tmp_path / "cache")
    assert asked == [(tmp_path / "m.gguf", tmp_path / "cache")] * is_prepared
