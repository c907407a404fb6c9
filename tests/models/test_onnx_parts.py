"""Graphs of GGUF files: tried against llama.cpp, kept where they are the same and faster, and not made of others."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader

from gac_app.models import gguf as gguf_reading
from gac_app.models.child_process import BUSY_STATUS, command_of
from gac_app.models.derived import SUMS_FILE
from gac_app.models.gguf import Unsuited
from gac_app.models.onnx import parts as onnx_parts
from gac_app.models.onnx.architecture import GRAPH_FILE, WEIGHTS_FILE
from gac_app.models.onnx.graph import write
from gac_app.models.onnx.parts import onnx_parts as parts_of
from tests.models.conftest import load_member
from tests.models.tiny_gguf import save_llama_gguf, save_random_gguf


@pytest.fixture(scope="module")
def gguf(llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_gguf(llama_dir, tmp_path_factory.mktemp("gguf") / "tiny.gguf", "gemma3")


class Child:
    """Stands for the child process."""

    def __init__(
        self, carry_out: Callable[[Path, Path], None], monkeypatch: pytest.MonkeyPatch, status: int = 0, said: str = ""
    ) -> None:
        self.num_runs = 0
        self._carry_out = carry_out
        self._status, self._said = status, said
        monkeypatch.setattr(subprocess, "run", self)

    def __call__(self, command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        self.num_runs += 1
        assert command[:-2] == command_of("gac_app.models.onnx.trial")
        self._carry_out(Path(command[-2]), Path(command[-1]))
        return subprocess.CompletedProcess(command, self._status, "", self._said)


def test_what_pays_is_kept_and_used(gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = Child(write, monkeypatch)
    kept = parts_of(gguf, tmp_path)
    assert kept is not None
    assert (parts_of(gguf, tmp_path), child.num_runs) == (kept, 1)
    monkeypatch.setattr("gac_app.models.llama_cpp.library.probe", lambda *_: None)
    for backend, engine in (("auto", "onnxruntime cpu"), ("llama_cpp", "llama.cpp cpu")):
        model = load_member(gguf, tmp_path, backend=backend, context_length=19, max_sequences=5)
        with closing(model):  # type: ignore[type-var]
            assert (model.engine, model.num_threads) == (engine, 1)
            assert (model.context_length, model.max_sequences) == (19, 5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "spoilt"),
    [
        (WEIGHTS_FILE, lambda data: data[:99] + bytes(64) + data[163:]),
        (WEIGHTS_FILE, lambda data: data[:-1]),
        (GRAPH_FILE, lambda data: data[::-1]),
        (SUMS_FILE, lambda _: b""),
    ],
)
def test_what_was_damaged_is_made_anew(
    name: str,
    spoilt: Callable[[bytes], bytes],
    gguf: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    child = Child(write, monkeypatch)
    kept = parts_of(gguf, tmp_path)
    assert kept
    whole = {path.name: path.read_bytes() for path in kept.iterdir()}
    (kept / name).write_bytes(spoilt(whole[name]))
    assert parts_of(gguf, tmp_path) == kept
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == whole
    assert f"{gguf.name} are damaged and are made again" in caplog.text
    assert (parts_of(gguf, tmp_path), child.num_runs) == (kept, 2)


def test_another_processor_packs_its_own(gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = Child(write, monkeypatch)
    first = parts_of(gguf, tmp_path)
    monkeypatch.setattr(onnx_parts, "_processor", lambda: "another")
    second = parts_of(gguf, tmp_path)
    assert second not in (first, None)
    assert child.num_runs == 2
    for lock in tmp_path.rglob("*.lock"):
        os.utime(lock, (0, 0))
    assert parts_of(gguf, tmp_path) == second
    monkeypatch.setattr(onnx_parts, "_processor", lambda: "a third")
    third = parts_of(gguf, tmp_path)
    assert {path for path in (tmp_path / "onnx").iterdir() if path.is_dir()} == {second, third}, "used within a month"


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")


@pytest.mark.parametrize(("status", "why"), [(1, "it is no faster"), (-signal.SIGSEGV, "status -11")])
def test_a_file_whose_trial_fails_is_not_tried_again(
    status: int, why: str, gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = Child(write, monkeypatch, status, "it is no faster\n" if status == 1 else "")
    assert [parts_of(gguf, tmp_path), parts_of(gguf, tmp_path), child.num_runs] == [None, None, 1]
    assert files_in(tmp_path) == [SUMS_FILE, "unsuited.txt"]
    assert next(tmp_path.rglob("unsuited.txt")).read_text() == f"{why}\n"


def give_up(gguf: Path, directory: Path) -> None:
    write(gguf, directory)
    raise subprocess.TimeoutExpired("child", 1)


@pytest.mark.parametrize(
    "status", [0, -signal.SIGKILL, -signal.SIGTERM, BUSY_STATUS], ids=["timeout", "killed", "told to end", "busy"]
)
def test_a_trial_that_does_not_finish_is_no_verdict(
    status: int, gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    child = Child(write if status else give_up, monkeypatch, status)
    assert parts_of(gguf, tmp_path) is None
    assert "stays with llama.cpp; a later start tries again" in caplog.text
    assert files_in(tmp_path) == [SUMS_FILE]
    assert parts_of(gguf, tmp_path) is None
    assert child.num_runs == 1, "not at every start"
    [kept] = [path for path in (tmp_path / "onnx").iterdir() if path.is_dir()]
    os.utime(kept, (0, 0))
    again = Child(write, monkeypatch)
    assert (parts_of(gguf, tmp_path), again.num_runs) == (kept, 1)


def test_trials_run_one_after_the_other(llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [save_random_gguf(llama_dir, tmp_path / f"{name}.gguf", "gemma3") for name in "ab"]
    both = threading.Barrier(2)
    met: list[bool] = []

    def meet(gguf: Path, directory: Path) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.3)
            met.append(True)
        write(gguf, directory)

    child = Child(meet, monkeypatch)
    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(parts_of, files, [tmp_path] * 2))
    assert (child.num_runs, met) == (2, [])


def test_who_does_not_await_a_trial_gets_llama_cpp(gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child, untried = Child(write, monkeypatch), list[Path]()
    assert (parts_of(gguf, tmp_path, untried), child.num_runs, untried) == (None, 0, [gguf])
    kept = parts_of(gguf, tmp_path)
    assert kept is not None
    assert parts_of(gguf, tmp_path, untried) == kept
    assert untried == [gguf]


@pytest.mark.process
def test_the_child_says_why(llama_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(Unsuited, match="its architecture is phi3"):
        onnx_parts._run_child(save_random_gguf(llama_dir, tmp_path / "other.gguf", "phi3"), tmp_path)


@pytest.mark.parametrize("trouble", ["large", "little memory", "float", "damaged", "no cache", "no onnxruntime"])
def test_what_is_not_for_it_is_llama_cpps_without_a_trial(
    trouble: str, gguf: Path, llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = Child(write, monkeypatch)
    cache_dir = tmp_path / "cache"
    if trouble == "large":
        monkeypatch.setattr(onnx_parts, "_MOST_BYTES", 1000)
    elif trouble == "little memory":
        monkeypatch.setattr(onnx_parts, "main_memory_bytes", lambda: 7 * gguf.stat().st_size)
    elif trouble == "float":
        gguf = save_llama_gguf(llama_dir, tmp_path / "float.gguf")
    elif trouble == "damaged":
        gguf = tmp_path / "damaged.gguf"
        gguf.write_bytes(b"GGUF" + bytes(range(200)))
    elif trouble == "no cache":
        cache_dir.write_text("a file where a directory is wanted")
    else:
        util, find = onnx_parts.importlib.util, onnx_parts.importlib.util.find_spec
        monkeypatch.setattr(util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
    assert (parts_of(gguf, cache_dir), child.num_runs) == (None, 0)


def test_long_lists_are_stepped_over_and_all_else_is_read(gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_reading, "_MOST_ITEMS", 10)
    whole, quick = GGUFReader(gguf), gguf_reading._Reader(gguf)
    assert list(map(described, quick.tensors)) == list(map(described, whole.tensors))
    for name, field in whole.fields.items():
        if "tokenizer.ggml.t" not in name and "merges" not in name:
            assert quick.fields[name].contents() == field.contents(), name
    for one, other in zip(quick.tensors, whole.tensors, strict=True):
        assert np.array_equal(one.data, other.data)


def described(tensor: Any) -> tuple[Any, ...]:
    return tensor.name, tensor.tensor_type, tensor.shape.tolist(), tensor.data_offset
