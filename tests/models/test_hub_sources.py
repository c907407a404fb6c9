"""Repositories of the Hub and single files of them, through its real client."""

from __future__ import annotations

import socket
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from gac_app.errors import ModelLoadError
from gac_app.models.sources import Progress, resolve
from gac_app.models.sources import hub as hub_module
from tests.fakes import SOON_S
from tests.models.fake_hub import COMMIT, FakeHub
from tests.models.source_tools import GGUF, REPOSITORY, SHA256, files_in, find, member, use_endpoint


def test_a_repository_is_fetched_once_without_code_or_pickles(hub: FakeHub, cache: Path) -> None:
    files = find(cache, source="hub:org/tiny")
    assert files.kind == "directory"
    assert {path.name for path in files.path.iterdir()} == {"config.json", "model.safetensors", "tokenizer.json"}
    assert (files.path / "model.safetensors").read_bytes() == REPOSITORY["model.safetensors"]
    hub.requests.clear()
    assert find(cache, source="hub:org/tiny") == files
    assert hub.requests == []


def test_the_folder_that_grows_is_the_one_that_is_watched(
    hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched_by_hub, folders = hub_module.watched, list[Path]()

    def watched(path: Path, *more: Any) -> AbstractContextManager[None]:
        folders.append(path)
        return watched_by_hub(path, *more)

    monkeypatch.setattr(hub_module, "watched", watched)
    find(cache, source="hub:org/tiny")
    [folder] = folders
    assert {file.read_bytes() for file in folder.iterdir()} == {
        REPOSITORY[name] for name in ("config.json", "model.safetensors", "tokenizer.json")
    }


def test_what_the_operator_allows_is_fetched_too(hub: FakeHub, cache: Path) -> None:
    files = find(cache, source="hub:org/tiny", allow_pickle=True, allow_remote_code=True)
    assert {"pytorch_model.bin", "modeling.py"} <= {path.name for path in files.path.iterdir()}


def test_a_pickle_only_repository_is_refused(hub: FakeHub, cache: Path) -> None:
    del hub.files["model.safetensors"]
    for _ in range(2):  # fetched, and found in the cache
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
        ("hub:org/tiny#absent.gguf", "the repository has no such file"),
        ("hub:org/absent#m.gguf", "no such repository"),
        ("hub:org/tiny#../m.gguf", "must lie inside"),
        ("hub:org/tiny#/etc/passwd", "must lie inside"),
        ("hub:org/tiny#", "expected hub:organisation/name"),
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
    with pytest.raises(ModelLoadError, match=r"huggingface\.co cannot be reached") as caught:
        find(tmp_path / "empty", source="hub:org/tiny")
    assert "To do without the download" not in str(caught.value), "it is no single file"


@pytest.mark.parametrize("revision", ["", f"@{COMMIT}"])
def test_one_file_of_a_repository_is_fetched_once(hub: FakeHub, cache: Path, revision: str) -> None:
    hub.files["q4/m.gguf"] = GGUF
    seen: list[Progress] = []
    config = {"source": f"hub:org/tiny{revision}#q4/m.gguf", "sha256": SHA256}
    files = resolve(member(**config), cache, seen.append)
    assert (files.kind, files.path.read_bytes()) == ("gguf", GGUF)
    assert files_in(cache) == {"tiny.gguf", ".lock"}
    assert (seen[-1].num_bytes, seen[-1].total_bytes) == (len(GGUF), len(GGUF))
    hub.requests.clear()
    assert find(cache, **config) == files
    assert hub.requests == []


def test_an_unreachable_hub_is_told_in_seconds(hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gac_app.models.sources.hub.ANSWER_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
        use_endpoint(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        with pytest.raises(ModelLoadError, match=r"huggingface\.co cannot be reached \(ReadTimeout"):
            find(cache, source="hub:org/tiny#m.gguf")
    assert time.monotonic() - started < SOON_S
