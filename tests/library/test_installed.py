"""The wheel in an environment of its own, used as another project would: the core's packages alone, and two models that
are saved locally.
"""

from __future__ import annotations

import importlib.util
import json
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


def test_another_project_uses_its_public_names(env: Path) -> None:
    """The first lines of the guide, and then the others, in a process that imports torch once."""
    guide = (ROOT / "docs" / "python.md").read_text("utf-8")
    five_lines = guide.split("```python\n")[1].split("```")[0].replace("models/", "")
    assert len([line for line in five_lines.splitlines() if line]) <= 5
    (env / "more.py").write_text(
        five_lines + "print()\n"
        "import asyncio, json, gac_app\n"
        "assert '/site-packages/' in gac_app.__file__\n"
        "settings = {'mode': 'every-step', 'max_new_tokens': 8, 'reproducible': 'on', 'alignment': 'paper'}\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "load = AutoModelForCausalLM.from_pretrained, AutoTokenizer.from_pretrained\n"
        "pairs = [tuple(part(folder) for part in load) for folder in ('one', 'two')]\n"
        "with gac_app.load(['one', 'two'], **settings) as gac:\n"
        "    files = gac.answer('The capital', raw=True)\n"
        "    many = asyncio.run(gac.answers_async(['The capital'] * 20, raw=True))\n"
        "with gac_app.load(pairs, **settings) as gac:\n"
        "    in_hand = gac.answer('The capital', raw=True)\n"
        "    with gac.decode('The capital', raw=True) as decoding:\n"
        "        while not decoding.is_finished:\n"
        "            decoding.feed(decoding.look().argmax_id)\n"
        "        stepped = decoding.text\n"
        "model, tokenizer = pairs[0]\n"
        "inputs = tokenizer('The capital', return_tensors='pt')\n"
        "with gac_app.GacLogitsProcessor(pairs[0], ['two'], **settings) as processor:\n"
        "    ids = model.generate(**inputs, max_new_tokens=8, logits_processor=[processor])\n"
        "written = tokenizer.decode(ids[0, inputs['input_ids'].shape[1]:], skip_special_tokens=True)\n"
        "try:\n"
        "    gac_app.load(['one'], threshold=7)\n"
        "except gac_app.RequestError as error:\n"
        "    told = str(error)\n"
        "print(json.dumps({'text': files.text, 'digests': [a.digest for a in (files, in_hand, *many)],\n"
        "                  'stepped': stepped, 'written': written, 'told': told}))\n"
    )
    done = run(env, "python", "more.py")
    assert done.returncode == 0, done.stderr
    *streamed, last = done.stdout.splitlines()
    assert "".join(streamed).strip()
    found = json.loads(last)
    assert (len(set(found["digests"])), len(found["digests"])) == (1, 22)
    assert found["text"] == found["stepped"] != ""
    assert found["text"].startswith(found["written"].rstrip("\N{REPLACEMENT CHARACTER}"))
    assert found["told"].startswith("threshold: ")


def test_the_command_works_and_says_what_it_lacks(env: Path) -> None:
    (env / "mine.yaml").write_text("members: [{name: a, source: one}, {name: b, source: two}]\n")
    done = run(env, "gac", "generate", "Hello", "--config", "mine.yaml", "--max-new-tokens", "4")
    assert (done.returncode, "Loading weights" in done.stderr) == (0, False), done.stderr
    (env / "commands.py").write_text(
        "import sys\n"
        "from gac_app import cli\n"
        "for command in 'gac --help', 'gac rules', 'gac vocab --config mine.yaml', 'gac serve --check':\n"
        "    sys.argv = command.split()\n"
        "    try:\n"
        "        cli.main()\n"
        "    except SystemExit as end:\n"
        "        assert not end.code, command\n"
    )
    done = run(env, "python", "commands.py")
    assert done.returncode == 0, done.stderr
    done = run(env, "gac", "export")
    assert done.returncode == 1
    assert done.stderr.startswith("error: this needs the package ")
    assert "pip install 'gac-app[all]'" in done.stderr


def test_its_types_are_there_for_checkers(env: Path) -> None:
    assert list((env / "env").glob("lib/python*/site-packages/gac_app/py.typed"))
