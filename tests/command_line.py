"""The command line in this process, which has the libraries loaded."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from gac_app import cli


def members_file(folder: Path, more: str = "", names: str = "ab") -> Path:
    """A configuration of random members with these names, and more."""
    members = "".join(f"- {{name: {name}, source: 'random:{seed}'}}\n" for seed, name in enumerate(names, 1))
    return config_file(folder, f"members:\n{members}{more}")


def config_file(folder: Path, text: str) -> Path:
    """A configuration, or something else in its place."""
    (folder / "members.yaml").write_text(text, encoding="utf-8")
    return folder / "members.yaml"


def run_command(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """What a process of its own would have printed and how it would have ended. An exception that it does not tell in a
    line is raised."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GAC_")} | variables
    written = io.BytesIO(), io.BytesIO()
    printed, told = (io.TextIOWrapper(each, "utf-8", newline="", write_through=True) for each in written)
    with (
        mock.patch.dict(os.environ, environment, clear=True),
        mock.patch.object(sys, "argv", ["gac_app", *arguments]),
        redirect_stdout(printed),
        redirect_stderr(told),
        _own_logging(),
    ):
        code: str | int | None = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
    return subprocess.CompletedProcess(arguments, int(code or 0), *(str(each.getvalue(), "utf-8") for each in written))


@contextmanager
def _own_logging() -> Iterator[None]:
    """As a process has it that nothing has set up."""
    root, ours = logging.getLogger(), logging.getLogger("gac_app")
    handlers, level = root.handlers[:], ours.level
    root.handlers.clear()
    yield
    root.handlers[:] = handlers
    ours.setLevel(level)
