"""Importing the page's Gradio writes nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

COMPONENT = "import gradio\n\nclass Own(gradio.HTML):\n    pass\n"


def test_no_stub_is_written_for_a_component(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(COMPONENT)

    script = "import sys; sys.path.insert(0, sys.argv[1]); import gac_app.ui, own; print(own.Own.__name__)"
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)

    assert done.stdout.strip() == "Own", done.stderr
    assert not (tmp_path / "own.pyi").exists()
