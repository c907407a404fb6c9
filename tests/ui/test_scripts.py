"""The page's modules: each says what it uses, nothing is there that nobody uses, and all have one address."""

from __future__ import annotations

import json
import posixpath
import re
from functools import cache

import pytest

from gac_app.folders import STATIC_DIR
from gac_app.services.runs.runs import RunService
from gac_app.ui.page import build_page
from gac_app.ui.scripts import FIRST, LATER, addresses, scripts

JS = STATIC_DIR / "js"
MODULES = sorted(path.relative_to(JS).as_posix() for path in JS.rglob("*.js"))
IMPORT = re.compile(r'^import (?:\{ ([^}]*) \} from )?"(\.[^"]+)";$', re.MULTILINE)
EXPORT = re.compile(r"^export (?:async function|function|class|const|let) (.*)$", re.MULTILINE)
TOP = re.compile(r"^(?:export )?(?:async function|function|class|const|let) (.*)$", re.MULTILINE)


@cache
def code_of(module: str) -> str:
    return (JS / module).read_text("utf-8")


def names_in(declaration: str) -> set[str]:
    """`A = [1, 2], B = 3;` -> A, B; of functions and classes the one name."""
    return {re.match(r"[\w$]+", declaration)[0], *re.findall(r", ([A-Z][A-Z_]+) = ", declaration)}  # type: ignore[index]


def found(pattern: re.Pattern[str], module: str) -> set[str]:
    return {name for declaration in pattern.findall(code_of(module)) for name in names_in(declaration)}


def imports_of(module: str) -> dict[str, set[str]]:
    """Imported names by the module that has them; a library has none."""
    folder = posixpath.dirname(module)
    return {
        posixpath.normpath(posixpath.join(folder, address)): set(filter(None, names.split(", ")))
        for names, address in IMPORT.findall(code_of(module))
    }


@cache
def bare_code_of(module: str) -> str:
    """Without comments, imports, texts, and heads of methods."""
    code = IMPORT.sub("", re.sub(r"^\s*(?://|/?\*).*$|(?<=[;{,]) // .*$", "", code_of(module), flags=re.MULTILINE))
    code = re.sub(r'"(?:[^"\\\n]|\\.)*"', '""', code)
    return re.sub(r"^  (?:async |get )?\w+(\(.*\) \{)$", r"\1", code, flags=re.MULTILINE)


def test_an_export_declares_one_name() -> None:
    for module in MODULES:
        assert {names for names in EXPORT.findall(code_of(module)) if len(names_in(names)) > 1} == set(), module


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_what_it_uses_and_no_more(module: str) -> None:
    code, own = bare_code_of(module), found(TOP, module)
    for source, names in imports_of(module).items():
        if source.startswith("../"):
            assert (JS / source).is_file()
            continue
        assert names <= found(EXPORT, source), source
        assert names <= set(re.findall(r"(?<![\w$.])(?:\.\.\.)?([\w$]+)", code)), f"{source}: imported in vain"
    imported = set().union(*imports_of(module).values())
    assert not imported & own
    elsewhere = {name for other in MODULES if other != module for name in found(EXPORT, other)}
    asked = set(re.findall(r"(?<![\w$.])(?:\.\.\.)?([a-z][\w$]*)\(|(?<![\w$.])(?:\.\.\.)?([A-Z][\w$]*)", code))
    assert {name for pair in asked for name in pair} & elsewhere - own - imported - local_names(code) == set()


def local_names(code: str) -> set[str]:
    return set(re.findall(r"(?:const|let|[(,{]) ?([\w$]+)(?= = |, |\) =>|[,)] )", code))


def test_nothing_is_exported_that_nobody_uses() -> None:
    used = {(source, name) for module in MODULES for source, names in imports_of(module).items() for name in names}
    python = "\n".join(path.read_text("utf-8") for path in (STATIC_DIR.parent / "gac_app" / "ui").rglob("*.py"))
    called = {(f"{module}.js", name) for module, name in re.findall(r'called\(\s*"([\w/]+)", "(\w+)"', python)}
    parts = {(f"{module}.js", "start") for module in re.findall(r'"([a-z]+/[a-z_]+)"', python)}
    exported = {(module, name) for module in MODULES for name in found(EXPORT, module)}
    operator = {("operator/operator.js", "start")}
    later = re.findall(r'modules\["([\w/]+)"\]\.(\w+)\(', "\n".join(map(code_of, MODULES)))
    called |= {(f"{module}.js", name) for module, name in later}
    assert called <= exported
    assert exported - used - called - parts - operator == set()


def test_nothing_is_declared_that_nobody_uses() -> None:
    for module in MODULES:
        unused = found(TOP, module) - found(EXPORT, module)
        code = code_of(module)
        assert {name for name in unused if len(re.findall(rf"(?<![\w$]){re.escape(name)}(?![\w$])", code)) < 2} == set()


def test_rooms_hold_at_most_fifteen_modules() -> None:
    for room in {module.partition("/")[0] for module in MODULES}:
        assert len(list((JS / room).iterdir())) <= 15, room


def test_the_page_asks_for_one_file_with_the_version() -> None:
    address, later = (f"./scripts/{scripts().version}/{name}" for name in (FIRST, LATER))
    markup = addresses()
    imports = {"gac": address, "gac/tabs": later}
    assert json.loads(re.search(r">({.*})<", markup)[1]) == {"imports": imports}  # type: ignore[index]
    assert f'<script type="module" src="{address}">' in markup
    assert {name for name in scripts().files if name.startswith("js/")} == {f"js/{module}" for module in MODULES}


def test_modules_of_further_tabs_join_those_that_are_there() -> None:
    first, later = (scripts().files[name].body.decode() for name in (FIRST, LATER))
    assert 'modules["lab/lab"] =' not in first
    assert 'modules["page/words"] =' not in later
    libraries = [
        [name for name in scripts().files if name.startswith("vendor/") and scripts().files[name].body.decode() in code]
        for code in (first, later)
    ]
    assert libraries == [["vendor/lezer-markdown.min.js"], []]
    assert later.startswith('import { modules } from "gac";')
    assert all(f'modules["{module.removesuffix(".js")}"] =' in first + later for module in MODULES)


def test_a_part_of_the_page_names_its_module_not_its_text(service: RunService) -> None:
    props = [part["props"] for part in build_page(service).get_config_file()["components"]]
    parts = [one["js_on_load"] for one in props if one.get("js_on_load")]
    assert len(parts) > 8
    assert all(len(script) < 1200 for script in parts)
