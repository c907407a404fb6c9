from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from gac_app.charts import MEMBERS, Panel, Series, heat_map, line_charts, rated_costs, to_png, to_svg

HOSTILE = '<script>alert("&")</script> var(--ink) var(--none)'
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.slow
def test_a_chart_takes_the_pages_colours() -> None:
    [plot] = line_charts("t", [Panel("x", "y", {"a": Series([(0, 0), (2, 20)], MEMBERS[1]), "b": Series([(1, 1)])})])
    colour = plot["layer"][0]["encoding"]["color"]
    assert colour["scale"] == {"domain": ["a", "b"], "range": ["var(--w1)", "var(--ink)"]}
    assert plot["width"] == "container"
    picture = to_svg([plot])
    assert ("var(--" in picture, "#d55e00" in picture) == (False, True)
    assert to_png([plot]).startswith(b"\x89PNG")


def test_every_contestant_has_a_colour_in_the_legend() -> None:
    rated = [{"name": name, "cost": 1.0, "rating": 1e3, "low": 900.0, "high": 1100.0} for name in "abcdefghijklm"]
    scale = rated_costs("ms", rated)["layer"][0]["encoding"]["color"]["scale"]
    assert scale["domain"] == list("abcdefghijklm")
    assert (len(set(scale["range"][:11])), len(scale["range"])) == (11, 13)
    [lines] = line_charts("t", [Panel("x", "y", {name: Series([(0, 1)]) for name in "abcdefghijklm"})])
    assert set(lines["layer"][0]["encoding"]["color"]["scale"]["range"]) == set(scale["range"])


@pytest.mark.parametrize(("largest", "domain"), [(0.0, [0, 1]), (0.25, None), (20.0, None)])
def test_an_axis_ends_near_its_values(largest: float, domain: list[float] | None) -> None:
    [plot] = line_charts("t", [Panel("x", "y", {"a": Series([(0, 0.0), (1, largest)])})])
    assert plot["layer"][0]["encoding"]["y"]["scale"].get("domain") == domain


def test_every_point_is_told_drawn_and_hovered() -> None:
    line = Series([(0, 0), (2, 20)], counts=[3, 4])
    panels = [Panel("x", "y", {"line": line}, end=30), Panel("u", "v", {"b": Series([(1, 2)])})]
    first, _ = plots = line_charts("Both", panels)
    assert first["description"] == "y over x. line: 0 at 0, 20 at 2."
    assert [row["count"] for row in first["data"]["values"]] == [3, 4]
    assert [tip["field"] for tip in first["layer"][1]["encoding"]["tooltip"]] == ["series", "x", "y", "count"]
    assert {param["name"] for param in first["layer"][0]["params"]} == {"chosen", "moved"}
    root = ElementTree.fromstring(to_svg(plots))  # noqa: S314 (our own)
    told = [part.text for part in root[:2]]
    assert told == ["Both", "y over x. line: 0 at 0, 20 at 2. v over u. b: 2 at 1."]


def test_names_are_text() -> None:
    plots = line_charts(HOSTILE, [Panel(HOSTILE, HOSTILE, {HOSTILE: Series([(1, 1)])})])
    root = ElementTree.fromstring(to_svg(plots))  # noqa: S314 (our own)
    assert not list(root.iter(f"{SVG}script"))
    assert any('<script>alert("&")</script>' in (text.text or "") for text in root.iter(f"{SVG}text"))


def test_a_heat_map_has_a_cell_for_each_share() -> None:
    [plot] = heat_map("Shares", ["after", "before"], {HOSTILE: [0.25, 1.0], "b": [0.0, 0.5]})
    assert [row["share"] for row in plot["data"]["values"]] == [0.25, 1.0, 0.0, 0.5]
    texts = [text.text for text in ElementTree.fromstring(to_svg([plot])).iter(f"{SVG}text")]  # noqa: S314 (our own)
    assert {"25.0%", "100.0%", "after", "b"} <= set(texts)
    json.dumps(plot)
