"""The route of the page's modules: this version's files of `static/js` and `static/vendor`, and nothing else."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from gac_app.folders import STATIC_DIR
from gac_app.ui.scripts import scripts
from tests.server.conftest import HERE

VERSION = scripts().version
MODULE = "js/compare/compare.js"


@pytest.fixture(scope="module")
def client(host: FastAPI) -> TestClient:
    return TestClient(host, base_url=HERE)


@pytest.mark.parametrize("path", [MODULE, "vendor/lezer-markdown.min.js"])
def test_a_module_is_sent_to_be_kept_for_good(client: TestClient, path: str) -> None:
    reply = client.get(f"/scripts/{VERSION}/{path}")
    assert reply.content == (STATIC_DIR / path).read_bytes()
    assert reply.headers["content-type"] == "text/javascript; charset=utf-8"
    assert reply.headers["content-encoding"] == "gzip"
    assert "immutable" in reply.headers["cache-control"]
    assert "set-cookie" not in reply.headers
    assert "script-src 'self'" in reply.headers["content-security-policy"]
    assert client.get(f"/scripts/{VERSION}/{path}", headers={"Accept-Encoding": "identity"}).content == reply.content


OTHERS = [f"{'0' * 16}/{MODULE}", MODULE, f"{VERSION}/", f"{VERSION}//etc/passwd", f"{VERSION}/{STATIC_DIR}/{MODULE}"]
OTHERS += [f"{VERSION}/{path}" for path in ("js/nothing.js", "words/en.json", "first.html", "js")]
OTHERS += [f"{VERSION}/js/{path}" for path in ("%2e%2e/%2e%2e/app.py", "..%5c..%5capp.py")]


@pytest.mark.parametrize("address", OTHERS)
def test_nothing_else_is_there(client: TestClient, address: str) -> None:
    reply = client.get(f"/scripts/{address}")
    assert reply.status_code in (400, 404)
    assert "immutable" not in reply.headers.get("cache-control", "")


def test_scripts_that_change_have_another_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "js").mkdir()
    monkeypatch.setattr("gac_app.ui.scripts.STATIC_DIR", tmp_path)
    versions = set()
    for text in ("let a;", "let b;", "let a;"):
        (tmp_path / "js" / "one.js").write_text(text)
        found = scripts.__wrapped__()
        assert gzip.decompress(found.files["js/one.js"].zipped) == text.encode()
        versions.add(found.version)
    assert len(versions) == 2
