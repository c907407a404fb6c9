"""The set-up scripts, with a Python that only writes down how it is called."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

SCRIPTS = Path(__file__).parent.parent / "scripts"
# Says its version, knows no torch but the test's, and fails where the test wants an installation to fail.
FAKE_PYTHON = f"""#!/bin/sh
echo "$*" >>"$CALLS"
case "$*" in
-VV) echo "Python $FAKE_VERSION" ;;
*"index versions torch"*) echo "2.13.0+cpu" ;;
*", torch;"*) exec {sys.executable} -S "$@" ;;
*"pip install"*) exit "${{PIP_STATUS:-0}}" ;;
*--last-failed*) exit 0 ;;
*"-m pytest"*) echo "$PYTEST_ADDOPTS" >>"$CALLS"; exit 1 ;;
esac
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(SCRIPTS, tmp_path / "scripts")
    (tmp_path / "requirements.txt").write_text("torch>=2.6\n", encoding="utf-8")
    (tmp_path / "constraints.txt").write_text("torch==2.13.0\n", encoding="utf-8")
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(FAKE_PYTHON, encoding="utf-8")
    python.chmod(0o755)
    return tmp_path


def _run(
    project: Path, *arguments: str, script: str = "run", **variables: str
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run a script from elsewhere; returns the outcome and what Python was called with."""
    calls = project / "calls"
    calls.write_text("", encoding="utf-8")
    environment = {**os.environ, "CALLS": str(calls), "FAKE_VERSION": "3.11.7", **variables}
    environment.pop("PYTEST_ADDOPTS", None)  # of the script that runs these tests
    command = [str(project / "scripts" / script), *arguments]
    done = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, timeout=60, check=False)
    return done, calls.read_text(encoding="utf-8").splitlines()


def _installs(calls: list[str]) -> int:
    return sum("pip install" in call for call in calls)


def test_the_second_start_installs_nothing_and_asks_no_index(project: Path) -> None:
    done, calls = _run(project)
    assert done.returncode == 0, done.stderr
    assert _installs(calls) == 1
    done, calls = _run(project, "--port", "8000")
    assert not [call for call in calls if "-m pip" in call]
    assert calls[-1] == "-m gac_app serve --port 8000"


def test_what_changed_is_installed(project: Path) -> None:
    _run(project)
    assert _installs(_run(project, FAKE_VERSION="3.12.1")[1]) == 1, "for another Python"
    for name in ("requirements.txt", "constraints.txt"):
        with (project / name).open("a", encoding="utf-8") as file:
            file.write("more==1\n")
        assert _installs(_run(project, FAKE_VERSION="3.12.1")[1]) == 1, name


@pytest.mark.skipif(sys.platform != "linux" or Path("/dev/nvidiactl").exists(), reason="any torch serves there")
def test_the_cpu_build_of_another_torch_is_sought(project: Path) -> None:
    for version, is_sought in (("2.9.1+cpu", True), ("2.13.0+cpu", False)):
        (project / "torch.py").write_text(f"__version__ = '{version}'\n", encoding="utf-8")
        _, calls = _run(project, FAKE_VERSION=version)
        assert any("index versions torch" in call for call in calls) == is_sought


def test_a_failed_installation_is_said_and_tried_again(project: Path) -> None:
    done, calls = _run(project, PIP_STATUS="1")
    assert done.returncode == 1
    assert "error: the installation failed" in done.stderr
    assert not any("gac_app" in call for call in calls)
    assert _installs(_run(project)[1]) == 1


def test_prepare_fetches_and_does_not_serve(project: Path) -> None:
    _, calls = _run(project, "--prepare", "--config", "x.yaml")
    assert calls[-1] == "-m gac_app fetch --config x.yaml"


def test_an_old_python_is_named(project: Path, tmp_path: Path) -> None:
    shutil.rmtree(project / ".venv")
    old = tmp_path / "bin" / "python3"
    old.parent.mkdir()
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit\nexit 1\n', encoding="utf-8")
    old.chmod(0o755)
    for name in ("bash", "dirname", "uname"):
        (old.parent / name).symlink_to(shutil.which(name) or "")
    done, _ = _run(project, PATH=str(old.parent))
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed; found: Python 3.9.2" in done.stderr


def test_what_failed_runs_again_with_the_draws_of_the_commit(project: Path) -> None:
    (project / "requirements-dev.txt").touch()
    subprocess.run(["git", "init", "-q", str(project)], check=True)
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *author, "commit", "-q", "--allow-empty", "-m", "x"], cwd=project, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=project, capture_output=True, check=True).stdout
    done, calls = _run(project, "--fast", script="test")
    [seed] = {call.strip() for call in calls if call.startswith("--hypothesis-seed=")}
    assert seed == f"--hypothesis-seed={int(head[:8], 16)}"
    assert (done.returncode, any("--last-failed" in call for call in calls)) == (0, True)


def test_an_example_that_fails_ends_the_search_and_runs_again(project: Path) -> None:
    done, calls = _run(project, "1", script="fuzz")
    assert sum("--hypothesis-profile=fuzz --hypothesis-seed=" in call for call in calls) == 1
    assert (done.returncode, "pytest --last-failed" in done.stderr) == (1, True)


def test_a_flaky_test_is_named_last(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "from pathlib import Path\n\n\ndef test_one():\n    seen = Path('seen')\n    was = seen.exists()\n"
        "    seen.touch()\n    assert was\n\n\ndef test_two(): ...\n"
    )
    options = [sys.executable, "-m", "pytest", "-p", "tests.flaky", "--rootdir=."]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS.parent)}
    runs = [
        subprocess.run([*options, *more], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        for more in ([], ["--lf"])
    ]
    assert [run.returncode for run in runs] == [1, 0]
    assert "FLAKY" not in runs[0].stdout
    named = runs[1].stdout.partition("FLAKY: failed, then passed")[2]
    assert re.findall(r"^test_it.py::(\w+): not in tests/flaky.md", named, re.MULTILINE) == ["test_one"]
