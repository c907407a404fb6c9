"""The wheel in an environment of its own, used as another project would: the core's packages alone, and two models that
are saved locally.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import sysconfig
import tomllib
from importlib.metadata import files, requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.models.tiny import save_gemma3, save_llama

pytestmark = [
    pytest.mark.process,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("hatchling") is None, reason="installed by requirements-dev.txt"),
]

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def _needed(lines: list[str]) -> set[str]:
    """The installed packages that these requirements bring, and theirs, without extras."""
    found: set[str] = set()
    pending = [Requirement(line) for line in lines]
    while pending:
        one = pending.pop()
        if one.name not in found and (one.marker is None or one.marker.evaluate({"extra": ""})):
            found.add(one.name)
            pending += map(Requirement, requires(one.name) or ())
    return found


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its `bin`, and beside it the folders `one` and `two` of the models."""
    folder = tmp_path_factory.mktemp("other-project")
    wheel = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(folder)]
    subprocess.run([*wheel, str(ROOT)], check=True, timeout=120)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "env")], check=True, timeout=120)
    python = folder / "env" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "-q"]
    subprocess.run([*install, *map(str, folder.glob("*.whl"))], check=True, timeout=120)
    [site] = (folder / "env" / "lib").glob("python*/site-packages")
    for name in _needed(PROJECT["dependencies"]):
        for top in {file.parts[0] for file in files(name) or ()} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(sysconfig.get_paths()["purelib"]) / top)
    save_llama(folder / "one")
    save_gemma3(folder / "two")
    return folder


def run(env: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """In the project's folder, where there is no `gac_app`."""
    variables = {"PATH": "/usr/bin:/bin", "GAC_CACHE": str(env / "cache"), "HOME": str(env)}
    program = [str(env / "env" / "bin" / command[0]), *command[1:]]
    return subprocess.run(program, cwd=env, env=variables, capture_output=True, text=True, timeout=180, check=False)


def test_another_project_runs_the_guide(env: Path) -> None:
    """All but what needs the extra `json`, in a process that imports torch once."""
    guide = (ROOT / "docs" / "python.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    assert len([line for line in blocks[0].splitlines() if line]) <= 5
    parts = [block for block in blocks if "json_schema" not in block]
    checks = ["assert '/site-packages/' in gac_app.__file__", "assert answer.text and decoding.text", "print('whole')"]
    (env / "guide.py").write_text("\n".join([*parts, *checks]).replace("models/", ""), "utf-8")
    done = run(env, "python", "guide.py")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "whole"), done.stderr


def test_the_command_works_and_says_what_it_lacks(env: Path) -> None:
    (env / "mine.yaml").write_text("members: [{name: a, source: one}, {name: b, source: two}]\n")
    (env / "commands.py").write_text(
        "import sys\n"
        "from gac_app import cli\n"
        "generate = 'gac generate Hello --config mine.yaml --max-new-tokens 4'\n"
        "for command in generate, 'gac --help', 'gac rules', 'gac vocab --config mine.yaml', 'gac serve --check':\n"
        "    sys.argv = command.split()\n"
        "    try:\n"
        "        cli.main()\n"
        "    except SystemExit as end:\n"
        "        assert not end.code, command\n"
    )
    done = run(env, "python", "commands.py")
    assert (done.returncode, "Loading weights" in done.stderr) == (0, False), done.stderr
    done = run(env, "gac", "export")
    assert done.returncode == 1
    assert done.stderr.startswith("error: this needs the package ")
    assert "pip install '.[all]'" in done.stderr


def test_its_types_are_there_for_checkers(env: Path) -> None:
    assert list((env / "env").glob("lib/python*/site-packages/gac_app/py.typed"))
