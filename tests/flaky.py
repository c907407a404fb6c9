"""Tests that failed and pass on the next try: named last, with what `tests/flaky.md` says about them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TABLE = Path(__file__).with_name("flaky.md")


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    passed = [one.nodeid for one in terminalreporter.getreports("passed")] if config.getoption("lf", False) else []
    if passed:
        causes = dict(re.findall(r"^\| `(.+?)` \| (.+) \|$", TABLE.read_text("utf-8"), re.MULTILINE))
        terminalreporter.section("FLAKY: failed, then passed", red=True, bold=True)
        for name in passed:
            cause = causes.get(name, "not in tests/flaky.md; mend its wait, or add it there with its cause")
            terminalreporter.line(f"{name}: {cause}", red=True)
