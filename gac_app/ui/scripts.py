"""The page's scripts, as the browser gets them: modules of `static/js`, and the libraries that they import.

The page asks for one file with all that a first answer needs, since 60 requests would make its first load a second
longer, and for another when a further tab is opened or answers are compared. They are read once, and their address has
a digest of them all, so that a page never mixes two versions.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter

from gac_app.folders import STATIC_DIR

ADDRESS = "scripts"  # followed by the version and the path in `static`
FIRST, LATER = "page.js", "tabs.js"  # modules in one file: those of a first answer, those of further tabs and dialogs
_LATER_ROOMS = ("arena", "batch", "history", "lab", "operator")
_DIGITS = 16
_IMPORT = re.compile(r'^import (?:(\{ [^}]* \}) from )?"(\.[^"]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async function|function|class|const|let) ([\w$]+))", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    body: bytes
    zipped: bytes


@dataclass(frozen=True, slots=True)
class Scripts:
    """All scripts by their path in `static`, and their version."""

    version: str
    files: Mapping[str, Script]


@cache
def scripts() -> Scripts:
    paths = sorted(path for folder in ("js", "vendor") for path in (STATIC_DIR / folder).rglob("*.js"))
    texts = {path.relative_to(STATIC_DIR).as_posix(): path.read_text("utf-8") for path in paths}
    first = {name: text for name, text in texts.items() if name.startswith("js/") and bundle_of(_key(name)) == "gac"}
    first |= {library: texts[library] for name, text in first.items() for library in _imported(name, text)}
    later = {name: text for name, text in texts.items() if name not in first}
    texts |= {FIRST: joined(first), LATER: joined(later, first)}
    version = hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:_DIGITS]
    bodies = {name: text.encode() for name, text in texts.items()}
    return Scripts(version, {name: Script(body, gzip.compress(body, 6)) for name, body in bodies.items()})


def bundle_of(module: str) -> str:
    """The name by which a module, ROOM/MODULE, is imported together with others."""
    return "gac/tabs" if module.startswith(tuple(f"{room}/" for room in _LATER_ROOMS)) else "gac"


def joined(texts: Mapping[str, str], there: Mapping[str, str] | None = None) -> str:
    """Modules and libraries as one module, which exports them all as `modules["ROOM/MODULE"]`, and then sets
    `window.gac` to the same.

    Each has a scope of its own, below those that it imports; none may import itself by a detour.

    Args:
        there: those of the file that was loaded before, whose `modules` these join.
    """
    sources = {name: _imported(name, text) for name, text in texts.items()}
    parts = ["export const modules = {};"] if there is None else ['import { modules } from "gac";\nexport { modules };']
    for name in TopologicalSorter(sources).static_order():
        if name in (there or {}):
            continue
        parts.append(_scoped(name, texts[name]) if name.startswith("js/") else texts[name])
    return "\n".join([*parts, "globalThis.gac = modules;\n"])


def _imported(name: str, text: str) -> list[str]:
    """The paths of what a module imports."""
    return [_source(name, found[2]) for found in _IMPORT.finditer(text)]


def _source(name: str, address: str) -> str:
    """The path of what a module imports."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), address))


def _key(name: str) -> str:
    """ROOM/MODULE of a path."""
    return name.removeprefix("js/").removesuffix(".js")


def _scoped(name: str, text: str) -> str:
    """A module's text as a block."""
    exported = ", ".join(found[2] for found in _EXPORT.finditer(text))

    def imported(found: re.Match[str]) -> str:
        return f'const {found[1]} = modules["{_key(_source(name, found[2]))}"];\n' if found[1] else ""

    code = _EXPORT.sub(r"\1", _IMPORT.sub(imported, text))
    return f'{{\n{code}\nmodules["{_key(name)}"] = {{ {exported} }};\n}}'


def addresses() -> str:
    """Markup for the beginning of the page's head, after which its modules can be had by `import("gac")` and, those of
    further tabs and dialogs, by `import("gac/tabs")`.

    They run before Gradio's own, so that a part is started at once when Gradio has drawn it.
    """
    address, later = (f"./{ADDRESS}/{scripts().version}/{name}" for name in (FIRST, LATER))
    imports = json.dumps({"imports": {"gac": address, "gac/tabs": later}})
    return f'<script type="importmap">{imports}</script><script type="module" src="{address}"></script>'
