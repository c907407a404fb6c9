"""The page's scripts, as the browser gets them: modules of `static/js`, and the libraries that they import.

The page asks for one file with all of them, since 60 requests would make its first load a second longer. They are read
once, and their address has a digest of them all, so that a page never mixes two versions.
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
ALL = "page.js"  # all modules in one file
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
    texts[ALL] = joined(texts)
    version = hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:_DIGITS]
    bodies = {name: text.encode() for name, text in texts.items()}
    return Scripts(version, {name: Script(body, gzip.compress(body, 6)) for name, body in bodies.items()})


def joined(texts: Mapping[str, str]) -> str:
    """Modules and libraries as one module, which exports them all as `modules["ROOM/MODULE"]`, and then sets
    `window.gac` to the same.

    Each has a scope of its own, below those that it imports; none may import itself by a detour.
    """
    sources = {name: [_source(name, found[2]) for found in _IMPORT.finditer(text)] for name, text in texts.items()}
    parts = ["export const modules = {};"]
    for name in TopologicalSorter(sources).static_order():
        parts.append(_scoped(name, texts[name]) if name.startswith("js/") else texts[name])
    return "\n".join([*parts, "globalThis.gac = modules;\n"])


def _source(name: str, address: str) -> str:
    """The path of what a module imports."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), address))


def _key(name: str) -> str:
    return json.dumps(name.removeprefix("js/").removesuffix(".js"))


def _scoped(name: str, text: str) -> str:
    """A module's text as a block."""
    exported = ", ".join(found[2] for found in _EXPORT.finditer(text))

    def imported(found: re.Match[str]) -> str:
        return f"const {found[1]} = modules[{_key(_source(name, found[2]))}];\n" if found[1] else ""

    code = _EXPORT.sub(r"\1", _IMPORT.sub(imported, text))
    return f"{{\n{code}\nmodules[{_key(name)}] = {{ {exported} }};\n}}"


def addresses() -> str:
    """Markup for the beginning of the page's head, after which its modules can be had by `import("gac")`.

    They run before Gradio's own, so that a part is started at once when Gradio has drawn it.
    """
    address = f"./{ADDRESS}/{scripts().version}/{ALL}"
    imports = json.dumps({"imports": {"gac": address}})
    return f'<script type="importmap">{imports}</script><script type="module" src="{address}"></script>'
