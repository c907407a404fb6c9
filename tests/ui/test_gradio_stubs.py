"""With the page's Gradio, a new component writes nothing."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

import gac_app.ui

COMPONENT = "import gradio\n\nclass Own(gradio.HTML):\n    pass\n"


def test_no_stub_is_written_for_a_component(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gac_app.ui  # importing it has turned stubs off
    (tmp_path / "own_component.py").write_text(COMPONENT)
    monkeypatch.syspath_prepend(tmp_path)

    assert importlib.import_module("own_component").Own.__name__ == "Own"
    assert not (tmp_path / "own_component.pyi").exists()
