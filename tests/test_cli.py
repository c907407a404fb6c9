"""The command line: exit codes, messages, and what it must not import."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gac_app import cli
from gac_app.models import sources
from gac_app.models.onnx import parts
from gac_app.models.sources.resolve import cached_path
from tests.command_line import config_file, members_file, run_command
from tests.models.source_tools import GGUF, SHA256, member
from tests.models.tiny import save_llama
from tests.storage.samples import ALICE, listed, new_run

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "gradio", "transformers", "sqlalchemy", "fastapi", "uvicorn", "numpy")


def _run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GAC_")} | variables
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)


def checked(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    """What `serve --check` says of this configuration."""
    return run_command("serve", "--check", "--config", str(config_file(folder, text)), *options)


@pytest.fixture
def config(tmp_path: Path) -> str:
    return str(members_file(tmp_path))


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'gac.sqlite3'}"


@pytest.mark.process
def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, gac_app.cli\nsys.argv = ['gac_app', '--help']\n"
        "try:\n    gac_app.cli.main()\nfinally:\n    print(sorted(set(sys.modules) & set(" + repr(HEAVY) + ")))"
    )
    done = _run("-c", code)
    assert "serve" in done.stdout
    assert done.stdout.rstrip().endswith("[]"), done.stdout[-200:]


@pytest.mark.parametrize(
    ("text", "message"), [("members: []", "members"), (None, "cannot be read"), ("[" * 5000, "nested too deeply")]
)
def test_a_bad_configuration_is_one_message_and_exit_code_2(tmp_path: Path, text: str | None, message: str) -> None:
    done = checked(tmp_path, text) if text else run_command("serve", "--check", "--config", "/nowhere.yaml")
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", "--port", "0"],
        ["serve", "--devices", "8x80GiB"],
        ["export", "--format", "xml"],
        ["export", "--output", "/no/such/folder/x"],
        ["nonsense"],
        ["cost", "--tokens", "4"],
    ],
)
def test_bad_arguments_are_exit_code_2(arguments: list[str], database: str) -> None:
    done = run_command(*arguments, GAC_DATABASE_URL=database)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_the_database_is_made_and_its_revision_printed(config: str, database: str) -> None:
    variables = {"GAC_CONFIG": config, "GAC_DATABASE_URL": database}
    assert json.loads(run_command("db", "current", "--json", **variables).stdout) == {"revision": None}
    made = run_command("db", "upgrade", **variables)
    assert made.returncode == 0
    after = run_command("db", "current", "--json", **variables)
    assert json.loads(after.stdout)["revision"] == made.stdout.strip() != ""


@pytest.mark.process
@pytest.mark.parametrize(
    ("arguments", "variables", "code", "told"),
    [
        (["db", "current"], {"GAC_DATABASE_URL": "garbage"}, 1, "invalid database URL"),
        (["serve", "--check"], {"GAC_PORT": "http"}, 2, "GAC_PORT: expected a port number, got 'http'"),
    ],
)
def test_a_process_ends_as_commands_do(arguments: list[str], variables: dict[str, str], code: int, told: str) -> None:
    done, here = _run("-m", "gac_app", *arguments, **variables), run_command(*arguments, **variables)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", here.stderr)
    assert done.stderr.startswith("error: ")
    assert told in done.stderr


RUN_EACH = """
import json, sys
from tests.command_line import run_command
for arguments, variables in json.loads(sys.argv[1]):
    done = run_command(*arguments, **variables)
    print(json.dumps([done.returncode, done.stdout, done.stderr]))
"""


@pytest.mark.process
def test_folders_that_cannot_be_written_are_told_or_used(tmp_path: Path, database: str) -> None:
    """Where a database belongs, they are told; a cache, which may be a link, is used for what it has."""
    run_command("db", "upgrade", GAC_DATABASE_URL=database)
    (tmp_path / "cache" / "models").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "cache")
    members = [member(source="pypi:tinymodel==1.0#m.gguf", sha256=sha256) for sha256 in (SHA256, "0" * 64)]
    cached = cached_path(members[0], tmp_path / "link")
    cached.parent.mkdir()
    cached.write_bytes(GGUF)
    for number, one in enumerate(members):
        given = one.model_dump(mode="json", include={"name", "source", "sha256"})
        (tmp_path / f"{number}.yaml").write_text(json.dumps({"members": [given]}))
    runs = [
        (["db", "upgrade"], {"XDG_DATA_HOME": str(tmp_path)}),
        (["db", "upgrade"], {"GAC_DATABASE_URL": database}),
        *((["fetch", "--json", "--config", f"{tmp_path}/{n}.yaml"], {"GAC_CACHE": f"{tmp_path}/link"}) for n in (0, 1)),
    ]
    as_others = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
    for folder in (cached.parent, tmp_path / "cache" / "models", tmp_path / "cache", tmp_path):
        folder.chmod(0o500)
    try:
        command = [*as_others, sys.executable, "-c", RUN_EACH, json.dumps(runs)]
        lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    finally:
        tmp_path.chmod(0o700)
    no_default, no_log, has_file, has_none = map(json.loads, lines)
    told = "cannot be written: Permission denied\n"
    assert no_default == [1, "", f"error: the database {tmp_path}/gac/gac.sqlite3 {told}"]
    assert no_log == [1, "", f"error: the database {tmp_path}/gac.sqlite3 {told}"]
    assert has_file[:2] == [0, json.dumps({"tiny": str(cached)}) + "\n"]
    assert has_none[:2] == [1, ""]
    assert f"Permission denied: {tmp_path}/link/models/tiny-0000000000000000" in has_none[2]


def test_export_writes_a_line_per_run(config: str, database: str, tmp_path: Path) -> None:
    from gac_app.storage import RunStatus, Store

    store, prompt = Store(database), 'line one\nline two \u2028 = "quoted" 雪'
    for run in (new_run(prompt) for _ in range(3)):
        store.start_run(run)
        store.finish_run(run.run_id, RunStatus.FINISHED)
    store.start_run(new_run("under way")).result(10)
    output = tmp_path / "runs.jsonl"
    variables = {"GAC_CONFIG": config, "GAC_DATABASE_URL": database}
    written = run_command("export", "--format", "jsonl", "--output", str(output), **variables)
    assert (written.returncode, written.stdout) == (0, "")
    printed = run_command("export", **variables)
    assert printed.stdout == output.read_text(encoding="utf-8")
    runs = [json.loads(line) for line in printed.stdout.splitlines()]
    assert [run["prompt"] for run in runs] == [prompt] * 3
    assert ALICE not in printed.stdout
    statuses = {run.status for run in listed(store, ALICE)}
    assert statuses == {"finished", "running"}, "exporting beside a server leaves its runs alone"
    store.close()


def test_fetching_prints_paths(tmp_path: Path) -> None:
    model = tmp_path / "tiny.gguf"
    model.write_bytes(b"GGUF" + b"\0" * 60)
    first = f"{{name: '[b]x', source: '{model}', notice: 'see [terms]'}}"
    path = config_file(tmp_path, f"members: [{first}, {{name: r, source: 'random:1'}}]")
    done = run_command("fetch", "--json", "--config", str(path), GAC_CACHE=str(tmp_path / "cache"))
    assert json.loads(done.stdout) == {"[b]x": str(model)}
    assert "[b]x: see [terms]" in done.stderr, "names and notices are text, not markup"


def test_fetching_says_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(_: object, __: Path, show: sources.ProgressCallback, ___: set[str]) -> sources.ModelFiles:
        show(sources.Progress(42, 100))
        return sources.ModelFiles(tmp_path, "directory")

    monkeypatch.setattr(sources, "resolve", resolve)
    path = config_file(tmp_path, f"members: [{{name: a, source: '{tmp_path}'}}]")
    done = run_command("fetch", "--config", str(path), GAC_CACHE=str(tmp_path / "cache"))
    assert (done.returncode, "fetching 42 %" in done.stderr) == (0, True), done.stderr


def test_fetching_tries_onnxruntime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a server's first start is like later ones. Who has chosen a back end gets no trial."""
    model, tried = tmp_path / "tiny.gguf", list[tuple[Path, Path]]()
    model.write_bytes(b"GGUF" + b"\0" * 60)
    monkeypatch.setattr(parts, "onnx_parts", lambda *files: tried.append(files))
    source = f"source: '{model}', device: cpu"
    backends = ("auto", "llama_cpp", "transformers")
    of_files = "".join(f"- {{name: {backend}, {source}, backend: {backend}}}\n" for backend in backends)
    path = config_file(tmp_path, f"members:\n{of_files}- {{name: d, source: 'random:1'}}\n")
    done = run_command("fetch", "--config", str(path), GAC_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    assert tried == [(model, tmp_path / "cache")]


def test_logs_go_where_stderr_is_now() -> None:
    handler = cli._StderrHandler()
    with contextlib.redirect_stderr(io.StringIO()) as caught:  # as rich does while it draws bars
        handler.handle(logging.makeLogRecord({"msg": "heard"}))
    assert caught.getvalue() == "heard\n"


def test_missing_sources_are_told_and_without_any_it_fails(tmp_path: Path) -> None:
    done = checked(tmp_path, "members: [{name: a, source: ['hub:a/b#c.gguf', [/no/such.gguf]]}]")
    assert (done.returncode, "there is no /no/such.gguf" in done.stdout) == (0, True)
    done = checked(tmp_path, "members: [{name: a, source: gone.gguf}, {name: b, source: [['pypi:x==1#a', /no/part]]}]")
    assert done.returncode == 1
    assert f"there is no {tmp_path / 'gone.gguf'}" in done.stdout
    assert done.stderr == "error: no source of a, b can be used\n"


def test_a_check_says_where_members_run_and_what_is_too_small(tmp_path: Path) -> None:
    save_llama(tmp_path / "tiny")
    text = "members: [{name: a, source: tiny}]"
    [_, placed] = checked(tmp_path, text, "--devices", "2x24GiB").stdout.splitlines()
    assert placed.split() == ["a", "cuda:0", "0.5", "GiB", "1"], "by the size of its files"
    *_, warning = checked(tmp_path, text, "--devices", "1x256MiB").stdout.splitlines()
    assert warning == "warning: a: about 0.5 GiB needed on cuda:0, which has 0.2 GiB free"


def test_serve_says_which_members_run_on_ray() -> None:
    done = run_command("serve", "--check", "--executor", "ray", "--ray-address", "10.0.0.1:6379")
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["runs", "Ray", "Ray"]
    done = run_command("serve", "--check", "--executor", "ray", "--ray-address", "ray://10.0.0.1:10001")
    assert (done.returncode, "expected host:port of the cluster's head" in done.stderr) == (2, True)
    done = run_command("serve", "--check", "--ray-address", "10.0.0.1:6379")
    assert (done.returncode, "works with --executor ray only" in done.stderr) == (2, True)
