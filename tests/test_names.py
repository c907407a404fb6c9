"""Names of tests are sentences that fit a line of a report."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parent
MOST = 59  # characters


def test_names_are_short() -> None:
    longer = {
        f"{path.relative_to(TESTS)}::{node.name}"
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if node.name.startswith("test_") and len(node.name) > MOST
    }
    assert longer == set()
