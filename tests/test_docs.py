"""What README, CONTRIBUTING.md and the pages in `docs/` link to, show and say is so; a Space can be made of README."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import typer
import yaml

import gac_app
from gac_app.cli import app
from gac_app.config import Config
from gac_app.config_file import config_of
from gac_app.evaluation.protocols.protocol import read_protocol
from gac_app.evaluation.tasks.task import read_task

ROOT = Path(__file__).parent.parent
DOCS, README, CONTRIBUTING = ROOT / "docs", ROOT / "README.md", ROOT / "CONTRIBUTING.md"
SHOWN = [README, *sorted(DOCS.glob("*.md")), CONTRIBUTING, ROOT / "SECURITY.md"]
CONFIGURATION = (DOCS / "configuration.md").read_text(encoding="utf-8")
_LIMITS = re.findall(r"\| `(\w+)` \| ([\d.]+) \| `([\w/]+)\.py` \|", (DOCS / "alignment.md").read_text("utf-8"))


@pytest.mark.parametrize("page", SHOWN, ids=lambda page: page.name)
def test_links_and_files_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = {page.parent / target for target in re.findall(r"\]\((?!https?://|#|term:)([^)#]+)", text)}
    folders = "configs|deploy|docs|examples|gac_app|scripts|static|tests"
    named = re.findall(rf"(?<![\w/.])(?:{folders})/[\w./-]*\w", text)
    assert links
    assert [path for path in {*links, *(ROOT / name for name in named)} if not path.exists()] == []


def test_docstrings_cite_files_that_exist() -> None:
    """In their own folder or one around it."""
    lost = []
    for path in (ROOT / "gac_app").rglob("*.py"):
        text = re.sub(r"\w+\.py:\d+", "", path.read_text(encoding="utf-8"))
        for name in re.findall(r"(?<![\w/.*])[a-z_][\w/]*\.py\b", text):
            if not any((folder / name).exists() for folder in path.parents):
                lost.append(f"{path.relative_to(ROOT)}: {name}")
    assert lost == []


def test_the_index_names_every_page() -> None:
    named = set(re.findall(r"\]\(([\w.-]+\.md)\)", (DOCS / "index.md").read_text(encoding="utf-8")))
    assert named == {page.name for page in DOCS.glob("*.md")} - {"index.md"}


def test_every_mark_is_told(pytestconfig: pytest.Config) -> None:
    own = {"real", "browser", "process", "slow", "long"}
    assert own <= {line.split(":")[0] for line in pytestconfig.getini("markers")}
    assert own == set(re.findall(r"^\| `(\w+)` \|", CONTRIBUTING.read_text(encoding="utf-8"), re.MULTILINE))


def test_names_of_tests_fit_a_line_of_a_report() -> None:
    """Which are sentences of fewer than 60 characters."""
    names = {
        f"{path.relative_to(ROOT)}::{node.name}": len(node.name)
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }
    assert [name for name, length in names.items() if length >= 60] == []


def test_every_case_has_a_test_that_exists() -> None:
    rows = re.findall(r"^\| (.+?) \| .+? \| (.+?) \|", (DOCS / "hardening.md").read_text("utf-8"), re.MULTILINE)[1:]
    assert {str(number) for number in range(1, 71)} <= {case for case, _ in rows}
    for case, named in rows:
        tests = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", named)
        assert tests, case
        for file, test in tests:
            assert f"def {test}(" in (ROOT / file).read_text("utf-8"), (case, test)


# --- what they show


def blocks_of(page: Path, *languages: str) -> list[str]:
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [code for language, code in blocks if language in languages]


def shown(*languages: str) -> list[Any]:
    numbered = ((page.stem, *block) for page in SHOWN for block in enumerate(blocks_of(page, *languages)))
    return [pytest.param(code, id=f"{page}-{number}") for page, number, code in numbered]


@pytest.mark.parametrize("code", shown("python"))
def test_python_is_python(code: str) -> None:
    compile(code, "docs", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


_MEMBERS = yaml.safe_load((ROOT / "configs" / "default.yaml").read_text(encoding="utf-8"))["members"]
_YAML: dict[str, Callable[[Path], object]] = {  # what a file is, by a key that it has
    "sdk": lambda _: None,  # a Space's card
    "hf_oauth": lambda _: None,
    "tasks": read_protocol,
    "about": read_task,
    "extends": read_task,
}


@pytest.mark.parametrize("code", shown("yaml"))
def test_yaml_is_what_the_program_takes(code: str, tmp_path: Path) -> None:
    found = yaml.safe_load(code)
    (tmp_path / "shown.yaml").write_text(code, encoding="utf-8")
    if read := next((read for key, read in _YAML.items() if key in found), None):
        read(tmp_path / "shown.yaml")
        return
    if not found.keys() <= Config.model_fields.keys():
        found = {"members": [{"name": "mine", **found}]}  # a part of a member
    (tmp_path / "worked.jsonl").write_text('{"question": "2 + 2?", "answer": "4"}')
    config_of({"members": _MEMBERS, **found}, tmp_path)


@pytest.mark.parametrize("page", SHOWN, ids=lambda page: page.name)
def test_commands_have_the_options_shown(page: Path) -> None:
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    commands: Any = typer.main.get_command(app)
    for line in re.findall(r"python -m gac_app ([^`\n]+)", text):
        name, *words = shlex.split(line, comments=True)
        if name == "--help" or f'name = "{name}"' in text:  # the page defines the command
            continue
        command, *words = [commands.commands.get(name), *words]
        if hasattr(command, "commands"):
            command = command.commands[words[0]]
        assert command, line
        if command.context_settings.get("ignore_unknown_options"):
            continue  # they are those of lm-eval
        options = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= {*options, "--help"}, line


def test_the_limits_are_told() -> None:
    assert {"NEGLIGIBLE", "WORTH_READING", "_ODDS_RATIO", "_LEAST_PART"} <= {name for name, _, _ in _LIMITS}


@pytest.mark.parametrize(("name", "value", "module"), _LIMITS)
def test_a_limit_is_the_code_s(name: str, value: str, module: str) -> None:
    assert getattr(importlib.import_module(f"gac_app.decoding.{module}".replace("/", ".")), name) == float(value)


@pytest.mark.parametrize("picture", sorted(DOCS.glob("*.svg")), ids=lambda picture: picture.name)
def test_a_picture_is_told_in_words_and_loads_nothing(picture: Path) -> None:
    root = ElementTree.parse(picture).getroot()  # noqa: S314 (our own)
    tags = [element.tag.rpartition("}")[2] for element in root.iter()]
    targets = [value for element in root.iter() for key, value in element.attrib.items() if key.endswith("href")]
    assert tags[1:3] == ["title", "desc"]
    assert not {"script", "style", "image", "foreignObject"} & set(tags)
    assert all(target.startswith("#") for target in targets)


def test_the_way_of_a_prompt_has_few_stations() -> None:
    """In one picture, whose files and rooms exist."""
    [picture] = re.findall(r"```mermaid\n(.*?)```", (DOCS / "engine.md").read_text(encoding="utf-8"), re.DOTALL)
    stations = re.findall(r'\w+\["([^"]+)"\]', picture)
    assert 10 <= len(stations) <= 15
    places = [found[0] for station in stations if (found := re.findall(r"^[\w/]+(?:\.py|/)(?=: |$)", station))]
    assert len(places) >= 10
    assert [place for place in places if not (ROOT / "gac_app" / place).exists()] == []


def test_the_notes_of_a_release_are_short() -> None:
    notes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split("\n## ")[1:]
    assert notes[0].startswith("[Unreleased]")
    assert all(len(release.splitlines()) <= 100 for release in notes)


def test_a_space_can_be_made_of_the_readme() -> None:
    """Hugging Face reads the front matter."""
    space: dict[str, Any] = yaml.safe_load(README.read_text(encoding="utf-8").split("---\n", 2)[1])
    assert space["sdk"] == "gradio"
    assert (ROOT / space["app_file"]).is_file()
    assert len(space["short_description"]) <= 60
    assert f"gradio=={space['sdk_version']}\n" in (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert isinstance(space["python_version"], str), "3.10 would be read as 3.1"


@pytest.mark.parametrize("command", sorted(typer.main.get_command(app).commands))  # type: ignore[attr-defined]
def test_every_command_is_told(command: str) -> None:
    assert re.search(rf"`(python -m gac_app )?{command}\b", (DOCS / "usage.md").read_text(encoding="utf-8"))


def test_every_variable_is_told() -> None:
    code = (ROOT / "gac_app" / "environment.py").read_text(encoding="utf-8")
    variables = set(re.findall(r"\"(GAC_\w+)\"", code))
    assert len(variables) >= 6
    assert variables <= set(re.findall(r"GAC_\w+", CONFIGURATION))


def test_every_preset_is_told() -> None:
    told = set(re.findall(r"^\| `(configs/[\w.-]+)` \|", CONFIGURATION, re.MULTILINE))
    assert told == {f"configs/{path.name}" for path in (ROOT / "configs").glob("*.yaml")}


def test_the_guide_names_every_public_name() -> None:
    guide = (DOCS / "python.md").read_text(encoding="utf-8")
    assert [name for name in gac_app.__all__ if f"`{name}" not in guide] == []
