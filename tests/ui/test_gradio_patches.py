"""What is changed inside Gradio; of other changes, effects are seen in tests/server: test_events and test_logs."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from pathlib import Path

import pytest

from gac_app.ui.gradio_patches import CHECKED_VERSION, without_stubs


def test_the_installed_gradio_is_the_one_that_was_checked() -> None:
    assert version("gradio") == CHECKED_VERSION, "see gac_app/ui/gradio_patches.py"


def test_no_stub_is_written_for_a_component(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_component.py").write_text("import gradio\n\nclass Own(gradio.HTML):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    with without_stubs():
        assert importlib.import_module("own_component").Own.__name__ == "Own"
    assert not (tmp_path / "own_component.pyi").exists()
