"""The page's files: vendored libraries are those that are pinned."""

from __future__ import annotations

import hashlib
import importlib
import re
from importlib.metadata import version
from pathlib import Path

import pytest

from gac_app.folders import STATIC_DIR
from gac_app.ui.gradio_patches import CHECKED_VERSION, without_stubs

VENDOR = STATIC_DIR / "vendor"


def test_vendored_libraries_are_pinned_and_licensed() -> None:
    rows = re.findall(
        r"^\| `(\S+)` \|.*`(\S+\.LICENSE)` \| `([0-9a-f]{64})` \|$", (VENDOR / "README.md").read_text(), re.M
    )
    assert {name for name, _, _ in rows} == {path.name for path in VENDOR.glob("*.js")}
    for name, licence, digest in rows:
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest
        assert (VENDOR / licence).stat().st_size > 500


def test_the_installed_gradio_is_the_one_that_was_checked() -> None:
    assert version("gradio") == CHECKED_VERSION, "see gac_app/ui/gradio_patches.py"


def test_no_stub_is_written_for_a_component(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_component.py").write_text("import gradio\n\nclass Own(gradio.HTML):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    with without_stubs():
        assert importlib.import_module("own_component").Own.__name__ == "Own"
    assert not (tmp_path / "own_component.pyi").exists()
