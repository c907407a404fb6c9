from __future__ import annotations

import hashlib
import importlib
import inspect
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio.utils import get_type_hints

from gac_app.charts import Panel, Series, heat_map, line_charts, rated_costs
from gac_app.config import Config
from gac_app.errors import Phrase
from gac_app.folders import STATIC_DIR
from gac_app.member_config import MemberConfig
from gac_app.services.lab.lab import Lab
from gac_app.ui.about_tab import build_about
from gac_app.ui.assets import page_assets
from gac_app.ui.gradio_patches import CHECKED_VERSION, without_stubs
from gac_app.ui.page import build_page
from gac_app.ui.plots import in_language, in_lines
from tests.services.lab.test_lab import study_pair
from tests.ui.planted import Planted

VENDOR = STATIC_DIR / "vendor"
OWN_SCRIPTS = sorted((STATIC_DIR / "js").rglob("*.js"))


def test_every_handler_is_given_what_it_takes_and_is_private(tmp_path: Path, planted: Planted) -> None:
    lab = Lab(planted.runs.config, tmp_path, study_pair, planted.store)
    page = build_page(planted.runs, lab, planted.arena)
    assert {fn.api_visibility for fn in page.fns.values()} <= {"private", "undocumented"}
    for fn in page.fns.values():
        if fn.fn:
            taken = inspect.signature(fn.fn).parameters
            hints = get_type_hints(fn.fn)
            events = [name for name in taken if hints.get(name) is gr.EventData]  # as Gradio finds them
            assert len(taken) == len(fn.inputs) + len(events), fn.fn


def test_a_tab_is_there_where_there_is_something_to_show(planted: Planted) -> None:
    without, beside = (
        [block.id for block in build_page(planted.runs, None, arena).blocks.values() if isinstance(block, gr.Tab)]
        for arena in (None, planted.arena)
    )
    assert without[0] == "compare"
    assert [tab for tab in beside if tab not in without] == ["contests", "arena", "leaderboard"]


def test_every_asset_is_a_file_without_a_remote_resource() -> None:
    for path in page_assets()["css_paths"]:
        assert "url(" not in path.read_text("utf-8"), path
    for path in OWN_SCRIPTS:
        # A namespace is no address.
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", path.read_text("utf-8")), path


def test_vendored_libraries_are_pinned_and_licensed() -> None:
    rows = re.findall(
        r"^\| `(\S+)` \|.*`(\S+\.LICENSE)` \| `([0-9a-f]{64})` \|$", (VENDOR / "README.md").read_text(), re.M
    )
    assert {name for name, _, _ in rows} == {path.name for path in VENDOR.glob("*.js")}
    for name, licence, digest in rows:
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest
        assert (VENDOR / licence).stat().st_size > 500


def test_the_installed_gradio_is_the_one_that_was_checked() -> None:
    assert version("gradio") == CHECKED_VERSION, "see gac_app/ui/gradio_patches.py"


def test_no_stub_is_written_for_a_component(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_component.py").write_text("import gradio\n\nclass Own(gradio.HTML):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    with without_stubs():
        assert importlib.import_module("own_component").Own.__name__ == "Own"
    assert not (tmp_path / "own_component.pyi").exists()


def test_no_script_builds_markup_from_text() -> None:
    for path in STATIC_DIR.rglob("*.js"):
        code = path.read_text("utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", code), path
        assert not re.search(r"XMLHttpRequest|WebSocket|importScripts", code), path
        for asked in re.findall(r"\bfetch\(([^,)]*)", code):  # Only of this host.
            assert asked in {"`operator/${path}`", "`${gradio_config.root}/healthz`"}, path


def test_rules_are_as_gradio_can_rewrite_them() -> None:
    # It puts its container before each selector in a media query, and drops those of other at-rules; a border with a
    # variable is lost where a side of it is set too. A state of the body styles a part below it: what is inherited, or
    # asked by `:has`, would give each token its style anew.
    for path in page_assets()["css_paths"]:
        style = path.read_text("utf-8")
        assert not re.search(r"\bborder:[^;{}]*var\([^{}]*\bborder-(?!radius)[\w-]+:", style), path
        assert not re.search(r"@(?:supports|container|layer)\b", style), path
        assert not re.search(r"^body[.:][^\s{]*(?:\s*\{|:has)", style, re.MULTILINE), path
        for query in re.findall(r"^@media.*?^\}", style, re.MULTILINE | re.DOTALL):
            assert not re.search(r"^\s+(?:body|html|\.gradio-container)\b", query, re.MULTILINE), (path, query)


def test_scripts_and_styles_are_short_files() -> None:
    for path in [*OWN_SCRIPTS, *STATIC_DIR.rglob("*.css")]:
        assert len(path.read_text("utf-8").splitlines()) <= 300, path


def test_templates_hold_nothing_that_gradio_would_evaluate() -> None:
    for path in STATIC_DIR.glob("*.html"):
        assert not re.search(r"\$\{|\{\{|`", path.read_text("utf-8")), path


def test_members_names_notices_and_addresses_are_text() -> None:
    """As the operator's file has them; an address only of the web."""
    hostile = MemberConfig(
        name="<img src=x onerror=alert(1)>", source="random:1", notice="<b>terms</b>", url='https://x/"><script>'
    )
    linked = MemberConfig(name="m", source="random:1", url="javascript:alert(1)")
    base = MemberConfig(name="a<b", source="random:1")
    view = MemberConfig(name="terse", source="random:1", of="a<b", system_prompt="Be terse.")
    with gr.Blocks():
        told = build_about(Config(members=(hostile, linked, base, view))).value
    assert '<strong>terse</strong> (<span data-t="about.view"></span> a&lt;b)' in told
    for markup in ("<img", "<b>terms", "<script", "javascript:"):
        assert markup not in told


def described(specs: list[dict[str, Any]], language: str) -> list[str]:
    return [spec["description"] for spec in in_language(specs, language)]


def test_a_chart_is_described_in_the_pages_language() -> None:
    points = {"every step": Series([(12.5, 1000), (25, 50)]), "Pareto front": Series([(1, 2)])}
    lines = line_charts("t", [Panel("steps ensembled, %", "accuracy, %", points)])
    assert described(lines, "en") == [
        "accuracy, % over steps ensembled, %. every step: 1,000 at 12.5, 50 at 25; Pareto front: 2 at 1."
    ]
    assert described(lines, "de") == [
        "Trefferquote, % gegen gemeinsame Schritte, %. jeder Schritt: 1.000 bei 12,5, 50 bei 25; Pareto-Front: 2 bei 1."
    ]
    name = Phrase("{name} alone", name="Small")
    rated = rated_costs("ms per token", [{"name": name, "cost": 2.5, "rating": 1010.4, "low": 900, "high": 1100}])
    assert described([rated], "de") == ["Wertung gegen ms je Token. Small allein: 1010 (900 bis 1100) bei 2,5."]
    shares = heat_map("t", ("after a space",), {"common English": [0.25]})
    assert described(shares, "de") == ["häufiges Englisch: 25,0%"]


def test_a_long_title_stands_on_several_lines() -> None:
    [chart] = heat_map("Words cut into the same tokens: Qwen2.5-Coder-0.5B-Instruct / SmolLM2", ("x",), {"a": [0.5]})
    assert in_lines(chart)["title"] == ["Words cut into the same tokens:", "Qwen2.5-Coder-0.5B-Instruct / SmolLM2"]
    assert in_lines({"mark": "point"}) == {"mark": "point"}
