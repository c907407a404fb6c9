from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from gac_app.line_plot import Panel, axis_end, line_plot


@pytest.mark.parametrize(
    ("largest", "end"), [(0, 1), (1, 1), (4, 4), (37, 40), (400, 400), (401, 500), (4064, 5000), (0.031, 0.04)]
)
def test_an_axis_ends_at_a_round_number_that_holds_all(largest: float, end: float) -> None:
    assert axis_end(largest) == pytest.approx(end)


def test_points_stand_in_proportion() -> None:
    svg = line_plot("t", [Panel("x", "y", {"line": [(0, 0), (2, 20), (4, 40)]})])
    dots = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="3.5"', svg)
    (x0, y0), (x1, y1), (x2, y2) = [(float(x), float(y)) for x, y in dots]
    assert x1 - x0 == pytest.approx(x2 - x1)
    assert y0 - y1 == pytest.approx(y1 - y2)
    assert x2 > x0
    assert y2 < y0, "up is less in SVG"


def test_what_coincides_shows_behind_what_is_drawn_later() -> None:
    line, other = [(0.0, 1.0), (1.0, 2.0)], [(0.0, 1.0), (1.0, 1.0)]
    svg = line_plot("t", [Panel("x", "y", {"first": line, "second": other, "third": line})])
    assert re.findall(r'stroke-width="(\d+)"', svg) == ["5", "2", "2"]
    assert re.findall(r'r="([\d.]+)" fill="#\w+"><title>', svg) == ["8.5", "6", "6", "3.5", "3.5", "3.5"]


def test_names_are_text() -> None:
    hostile = '<script>alert("&")</script>'
    document = ElementTree.fromstring(line_plot(hostile, [Panel(hostile, hostile, {hostile: [(1, 1)]})]))  # noqa: S314
    texts = [element.text for element in document.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count(hostile) == 4
    title, described = list(document)[:2]
    assert title.text == hostile
    assert described.text == f"{hostile} over {hostile}. {hostile}: 1 at 1."
    assert not list(document.iter("{http://www.w3.org/2000/svg}script"))
