"""Names of tests are sentences that fit a line of a report."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parent
MOST = 59  # characters
# Files with longer names; none is to be added.
_LONGER: set[str] = {
    "bench/test_engine_rows.py",
    "browser/test_keep.py",
    "browser/test_settings.py",
    "decoding/test_alignment.py",
    "decoding/test_combine.py",
    "decoding/test_context.py",
    "decoding/test_foreseen.py",
    "decoding/test_gate.py",
    "decoding/test_lone_context.py",
    "decoding/test_mixture.py",
    "decoding/test_pace.py",
    "decoding/test_row.py",
    "decoding/test_sampling.py",
    "decoding/test_speculative.py",
    "decoding/test_weights.py",
    "evaluation/test_strength.py",
    "evaluation/test_sweep_weights.py",
    "executors/test_threads.py",
    "services/test_branching.py",
    "services/test_old_settings.py",
    "storage/test_crash.py",
    "storage/test_export.py",
    "storage/test_store.py",
    "test_config.py",
    "test_generate_command.py",
}


def test_names_are_short() -> None:
    longer = {
        f"{path.relative_to(TESTS)}::{node.name}"
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if node.name.startswith("test_") and len(node.name) > MOST
    }
    assert {name for name in longer if name.split("::")[0] not in _LONGER} == set()
    assert not _LONGER - {name.split("::")[0] for name in longer}, "take it from the list"
