"""A package imports only what stands below it, and heavy libraries stay inside the package they belong to."""

from __future__ import annotations

import ast
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "gac_app"

# Each layer with the layers that it may import; layers beside each other know nothing of one another.
LAYERS: dict[str, set[str]] = {"errors": set()}
LAYERS["validation"] = LAYERS["folders"] = LAYERS["recent"] = set()
LAYERS["member_config"] = LAYERS["settings"] = {"validation"}
LAYERS["config"] = {"errors", "member_config", "settings", "validation"}
CONFIG = LAYERS["config"] | {"config", "recent"}
LAYERS["plugins"] = {"errors"}
LAYERS["config_file"] = CONFIG
LAYERS["vocab"] = CONFIG
LAYERS["models"] = LAYERS["vocab"] | {"vocab", "folders", "plugins"}
LAYERS["decoding"] = LAYERS["models"] | {"models"}
LAYERS["storage"] = LAYERS["decoding"] | {"decoding"}
LAYERS["executors"] = LAYERS["storage"]
LAYERS["charts"] = {"folders"}
LAYERS["arena"] = LAYERS["decoding"] | {"decoding"}
LAYERS["evaluation"] = LAYERS["decoding"] | {"decoding", "charts"}
LAYERS["services"] = LAYERS["evaluation"] | {"storage", "arena", "evaluation"}
LAYERS["ui"] = LAYERS["services"] | {"services"}
LAYERS["server"] = LAYERS["ui"] | {"ui"}
LAYERS["environment"] = CONFIG | {"config_file", "folders", "plugins", "models", "decoding"}
LAYERS["loading"] = LAYERS["environment"] | {"vocab", "environment", "executors"}
LAYERS["library"] = LAYERS["loading"] | {"loading"}
LAYERS["bootstrap"] = LAYERS["server"] | {"executors", "server", "environment", "loading"}
LAYERS["bench"] = LAYERS["bootstrap"] | {"bootstrap"}
LAYERS["commands"] = LAYERS["bench"] | {"bench", "evaluation"}
LAYERS["cli"] = LAYERS["commands"] | {"commands"}
LAYERS["__main__"] = {"cli"}
LAYERS["__init__"] = LAYERS["library"] | {"library"}

HEAVY: dict[str, set[str]] = {
    "torch": {"vocab", "models", "decoding", "executors", "library"},
    "transformers": {"models", "library"},
    "accelerate": {"models"},
    "llama_cpp_py_sync": {"models"},
    "huggingface_hub": {"models", "services"},
    "sqlalchemy": {"storage"},
    "alembic": {"storage"},
    "gradio": {"ui", "server"},
    "spaces": {"commands"},
    "fastapi": {"server"},
    "prometheus_client": {"services", "server"},
    "starlette": {"server"},
    "uvicorn": {"server"},
    "typer": {"commands", "cli"},
    "py3langid": {"arena"},
    "wordfreq": {"evaluation"},
    "sacrebleu": {"evaluation"},
    "vl_convert": {"charts"},
    "ray": {"executors"},
    "lm_eval": {"evaluation", "commands"},
}


# The rooms and top modules of a package, lowest first: each imports only what stands before it.
_ROOM_ORDERS = {
    "models": "message chat sequence pass_costs base random_model child_process derived sources hardware backends "
    "gguf llama_cpp onnx hf remote factory",
    "decoding": "trace distribution constraints rules alignment forward member view tokenizer request contexts "
    "speculation loop scoring ensemble together",
    "ui": "gradio_patches words scripts requests assets streaming plots members settings "
    "compare tabs about_tab batch_tab history_tab lab arena page",
    "server": "logs limits middleware api page routes host serving",
    "arena": "outcomes controls contestants language pacing moderation rating drawing",
    "storage": "text migrations database runs battles studies servers tombstones store",
    "evaluation": "tasks metrics running studies protocols harness",
    "library": "closing answer prompts room in_threads sources step gac given processor",
    "services": "visitors origin threads writes members queue exports mirror runs completions lab battles",
}
ROOMS = {package: order.split() for package, order in _ROOM_ORDERS.items()}


def _layer(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def _imports(path: Path) -> tuple[str, ...]:
    """Dotted names of all modules that a file imports, wherever in it; `from a import b` gives `a.b`."""
    names = list[str]()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the layer"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(names)


FILES = sorted(PACKAGE.rglob("*.py"))


def test_every_file_has_a_place_among_the_layers() -> None:
    assert {_layer(path) for path in FILES} == LAYERS.keys()


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_downwards(layer: str) -> None:
    for path, name in _imports_of(layer):
        package, _, rest = name.partition(".")
        if package == "gac_app" and rest.split(".")[0] in LAYERS:
            imported = rest.split(".")[0]
            assert imported == layer or imported in LAYERS[layer], f"{path}: {layer} must not import {name}"
        elif package in HEAVY:
            assert layer in HEAVY[package], f"{path}: {package} belongs to {', '.join(sorted(HEAVY[package]))}"


@pytest.mark.parametrize("package", ROOMS)
def test_rooms_import_lower_rooms_only(package: str) -> None:
    order = ROOMS[package]
    for path, name in _imports_of(package):
        room = path.relative_to(PACKAGE / package).with_suffix("").parts[0]
        if room == "__init__" or not name.startswith(f"gac_app.{package}."):
            continue
        if (imported := name.split(".")[2]) != room:
            assert {imported, room} <= {*order}, f"{path}: {room} or {imported} is not in {package}'s order of rooms"
            assert order.index(imported) < order.index(room), f"{path}: {room} must not import {name}"


def test_a_folder_has_at_most_fifteen_modules() -> None:
    numbers = Counter(path.parent for path in FILES if path.name != "__init__.py")
    assert {folder: number for folder, number in numbers.items() if number > 15} == {}


def _imports_of(layer: str) -> list[tuple[Path, str]]:
    """What the files of a layer import, with each file."""
    return [(path, name) for path in FILES if _layer(path) == layer for name in _imports(path)]


@pytest.mark.parametrize("package", ROOMS)
def test_a_room_says_what_it_is_for(package: str) -> None:
    for init in (PACKAGE / package).rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))), init


# Rooms that others import by their faces alone.
_FACES = {
    "decoding": "trace distribution constraints alignment contexts speculation loop scoring",
    "models": "sources hardware hf",
    "evaluation": "tasks running harness",
}
FACES = ["storage", *(f"{package}.{room}" for package, rooms in _FACES.items() for room in rooms.split())]
# Rooms with modules that load more than most importers need: torch, numpy, transformers' models, or all of the lab.
# Names that the face has are imported by it, the others from their modules.
PARTIAL_FACES = ["decoding.rules", "models.hf", *(f"evaluation.{room}" for room in ("metrics", "studies"))]


def _offered(room: str) -> set[str]:
    """The names in the `__all__` of a room."""
    tree = ast.parse((PACKAGE / room.replace(".", "/") / "__init__.py").read_text(encoding="utf-8"))
    [offered] = [node.value for node in tree.body if isinstance(node, ast.Assign)]
    return set(ast.literal_eval(offered))


@pytest.mark.parametrize("room", [*FACES, *PARTIAL_FACES])
def test_a_room_is_imported_by_its_face(room: str) -> None:
    folder, prefix, offered = PACKAGE / room.replace(".", "/"), f"gac_app.{room}.", _offered(room)
    for path in FILES:
        for name in _imports(path):
            if name.startswith(prefix) and not path.is_relative_to(folder):
                *modules, wanted = name.removeprefix(prefix).split(".")
                assert not modules or (room in PARTIAL_FACES and wanted not in offered), f"{path}: {name}"


# How often a file looks at the wall clock: for a date, or beside the time of a file or of another machine.
DATES = {
    **dict.fromkeys(("server/api/app.py", "server/api/forms.py", "server/routes/sign_in.py"), 1),
    **{"services/battles/battles.py": 2, "services/battles/records.py": 3, "models/derived.py": 1},
    **dict.fromkeys(("services/queue/shares.py", "models/onnx/parts.py", "models/remote/transport.py"), 1),
}


def test_durations_are_of_the_monotonic_clock() -> None:
    found = {str(path.relative_to(PACKAGE)): path.read_text("utf-8").count("time.time") for path in FILES}
    assert {path: num for path, num in found.items() if num and not path.startswith("bench/")} == DATES


def test_the_test_sees_what_it_should() -> None:
    assert "gac_app.server.host.create_host" in set(_imports(PACKAGE / "commands" / "serve.py"))
    assert len(FILES) > 20


@pytest.mark.process
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no checkout of git")
def test_no_file_is_both_tracked_and_ignored() -> None:
    """Git overwrites what is ignored: a tracked link `.venv` would replace everybody's environment."""
    command = ("git", "ls-files", "--cached", "--ignored", "--exclude-standard")
    assert not subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
