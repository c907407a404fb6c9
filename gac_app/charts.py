"""Charts as Vega-Lite specifications. The page draws them; `to_svg` and `to_png` write them without a browser.

Each has a description for screen readers, made of its rows.

Colours are the page's variables (`static/css/palette.css`), so that a chart follows the theme. Picture files get the
light theme's values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import cycle
from typing import Any

from gac_app.folders import STATIC_DIR

Point = tuple[float, float]
Spec = dict[str, Any]  # of one panel, JSON-able; as wide as its container

INK, SOFT, LINE, CARD = "var(--ink)", "var(--ink-soft)", "var(--line)", "var(--card)"
MEMBERS = tuple(f"var(--w{index})" for index in range(6))
OTHERS = (INK, "var(--gate-strong)", "var(--doubt-colour)", "var(--good)", SOFT)
_VERSION = "5.21"  # of Vega-Lite: Gradio's version
_HEIGHT, _STILL_WIDTH, _PNG_SCALE = 260, 380, 2
_DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
_MIN_AREA, _MAX_AREA = 30, 400  # of a dot, square pixels
_PADDING = 12  # pixels between the axes' ends and the outermost points
_FAINT = 0.15  # opacity of series that are not chosen in the legend
_MAX_FILL = 0.55  # opacity of a heat map's cell, for readable text in both themes
ZOOM = "wheel![event.shiftKey]"  # without shift, the wheel scrolls the page
_DOT = {"type": "point", "filled": True, "size": 70, "opacity": 1}
_LEGEND = {
    **{"title": None, "orient": "bottom", "columns": 1, "labelLimit": 320},
    **{"symbolType": "circle", "symbolStrokeWidth": 0},
}
# A click on a name brings its line out; dragging moves the axes.
_CHOOSING = [
    {"name": "chosen", "select": {"type": "point", "fields": ["series"]}, "bind": "legend"},
    {"name": "moved", "select": {"type": "interval", "zoom": ZOOM}, "bind": "scales"},
]


@dataclass(frozen=True, slots=True)
class Series:
    """Points, joined by a line. `counts`: the number behind each point, drawn as its area."""

    points: Sequence[Point]
    colour: str = ""  # "" = a colour of its own
    counts: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes with zero; `series` by their names in the legend."""

    x_label: str
    y_label: str
    series: Mapping[str, Series]
    end: float | None = None  # of both axes; None = the largest value


def line_charts(title: str, panels: Sequence[Panel]) -> list[Spec]:
    """A specification per panel; the first has the title."""
    return [_finished(*_drawn(panel), title if not number else "") for number, panel in enumerate(panels)]


def heat_map(title: str, columns: Sequence[str], rows: Mapping[str, Sequence[float]]) -> list[Spec]:
    """Shares, 0 to 1, as cells; larger ones are darker."""
    cells = [
        {"row": row, "column": column, "share": share}
        for row, shares in rows.items()
        for column, share in zip(columns, shares, strict=True)
    ]
    share = _number("share", format=".1%")
    places = {
        "x": _name("column", title=None, sort=None, axis={"orient": "top", "labelAngle": 0, "labelLimit": 160}),
        "y": _name("row", title=None, sort=None, axis={"labelLimit": 180}),
        "tooltip": [_name("row"), _name("column"), share],
    }
    opacity = _number("share", scale={"domain": [0, 1], "range": [0, _MAX_FILL]}, legend=None)
    layers = [
        {"mark": {"type": "rect", "color": MEMBERS[0], "stroke": LINE}, "encoding": {**places, "opacity": opacity}},
        {"mark": {"type": "text", "color": INK, "fontSize": 12}, "encoding": {**places, "text": share}},
    ]
    return [_finished(layers, cells, title, height=22 * len(rows))]


def rated_costs(cost_label: str, rows: list[Spec]) -> Spec:
    """Ratings with intervals over costs, a colour for each name. A row: `name`, `cost`, `rating`, `low`, `high`."""
    names = [row["name"] for row in rows]
    colours = ((*MEMBERS, *OTHERS) * len(names))[: len(names)]
    scale = {"zero": False, "padding": _PADDING, "nice": False}
    tips = [_name("name"), _number("cost", title=cost_label, format=",.3~g")]
    tips += [_number(field, format=",.0f") for field in ("rating", "low", "high")]
    base = {
        "x": _number("cost", title=cost_label, scale=_scale([row["cost"] for row in rows], None)),
        "color": _name("name", scale={"domain": names, "range": colours}, legend=_LEGEND),
        "tooltip": tips,
    }
    low = {"y": _number("low", title="rating", scale=scale), "y2": {"field": "high"}}
    layers = [
        {"mark": {"type": "rule", "strokeWidth": 2}, "encoding": {**base, **low}},
        {"mark": _DOT, "encoding": {**base, "y": _number("rating", scale=scale)}},
    ]
    return _finished(layers, rows, "")


def _name(field: str, **more: Any) -> Spec:
    """A channel that shows a text."""
    return {"field": field, "type": "nominal", "title": field, **more}


def _number(field: str, **more: Any) -> Spec:
    """A channel that shows a number."""
    return {"field": field, "type": "quantitative", "title": field, **more}


def _finished(layers: list[Spec], rows: list[Spec], title: str, height: int = _HEIGHT) -> Spec:
    """A specification in the page's style. `rows`: what the layers draw."""
    axis = {"labelColor": SOFT, "titleColor": INK, "gridColor": LINE, "domainColor": SOFT, "tickColor": SOFT}
    sizes = {"labelFontSize": 12, "titleFontSize": 13, "titleFontWeight": "normal"}
    config = {
        "font": "IBM Plex Sans, sans-serif",
        "aria": False,  # in English: the description has all that axes and marks show
        "mark": {"aria": False},
        "background": "transparent",
        "view": {"stroke": LINE},
        "axis": {**axis, **sizes},
        "legend": {"labelColor": INK, "titleColor": INK, **sizes},
        "title": {"color": INK, "fontSize": 14, "anchor": "start"},
    }
    return {
        "$schema": f"https://vega.github.io/schema/vega-lite/v{_VERSION}.json",
        **({"title": title} if title else {}),
        "description": _description(layers, rows),
        "width": "container",
        "height": height,
        "data": {"values": rows},
        "layer": layers,
        "config": config,
        # Drawn as SVG, whose colours may be variables; without a menu of external links.
        "usermeta": {"embedOptions": {"renderer": "svg", "actions": False}},
    }


def reworded(spec: Spec, word: Callable[[str], str]) -> Spec:
    """A specification whose titles, names and description are other words for the same; `word` also writes figures."""
    rows = [
        {key: word(value) if isinstance(value, str) else value for key, value in row.items()}
        for row in spec["data"]["values"]
    ]

    def walked(part: Any) -> Any:
        """The titles of channels, and the names in scales, in other words."""
        if isinstance(part, list):
            return [walked(one) for one in part]
        if not isinstance(part, dict):
            return part
        found = {key: walked(value) for key, value in part.items()}
        if isinstance(part.get("title"), str):
            found["title"] = word(part["title"])
        if "domain" in part:
            found["domain"] = [word(one) if isinstance(one, str) else one for one in part["domain"]]
        return found

    layers = walked(spec["layer"])
    told = {"title": word(spec["title"])} if "title" in spec else {}
    return {**spec, **told, "description": _description(layers, rows, word), "data": {"values": rows}, "layer": layers}


def to_svg(plots: Sequence[Spec]) -> str:
    """A picture of charts side by side, on white, with a description for screen readers."""
    import vl_convert

    svg: str = vl_convert.vegalite_to_svg(_still(plots), vl_version=_VERSION, allowed_base_urls=[])
    told = " ".join(str(plot["description"]) for plot in plots)
    title = next((str(plot["title"]) for plot in plots if plot.get("title")), "Chart")
    return svg.replace(">", f">\n<title>{escape(title)}</title>\n<desc>{escape(told)}</desc>", 1)


def to_png(plots: Sequence[Spec]) -> bytes:
    """The same picture as PNG."""
    import vl_convert

    png: bytes = vl_convert.vegalite_to_png(_still(plots), vl_version=_VERSION, scale=_PNG_SCALE, allowed_base_urls=[])
    return png


def _still(plots: Sequence[Spec]) -> Spec:
    """Charts in one specification, with the light theme's colours and without interaction."""
    light_css = (STATIC_DIR / "css" / "palette.css").read_text("utf-8").partition(".dark")[0]
    light = dict(re.findall(r"--([\w-]+): (#\w+);", light_css))
    text = re.sub(r"var\(--([\w-]+)\)", lambda found: light.get(found[1], found[0]), json.dumps(list(plots)))
    panels: list[Spec] = json.loads(text, object_hook=_without_operation)
    config = {**panels[0]["config"], "background": "#ffffff"}
    panels = [{**panel, "width": _STILL_WIDTH} for panel in panels]
    for panel in panels:
        del panel["config"]
    apart = {"scale": {"color": "independent", "strokeDash": "independent"}}
    return {"$schema": panels[0]["$schema"], "hconcat": panels, "config": config, "resolve": apart}


def _without_operation(part: Spec) -> Spec:
    return {
        key: value
        for key, value in part.items()
        if key not in ("params", "usermeta") and not (key == "opacity" and "condition" in str(value))
    }


def _description(layers: Sequence[Spec], rows: Sequence[Spec], word: Callable[[str], str] = str) -> str:
    """What a chart shows, in words. `word`: of the sentences here, and of figures; the rest has its words already."""
    lines: dict[str, list[str]] = {}
    for row in rows:
        if "share" in row:
            name, told = row["row"], word(f"{row['share']:.1%}")
        elif "rating" in row:
            figures = [word(f"{row[field]:.0f}") for field in ("rating", "low", "high")]
            name, told = row["name"], word("%s (%s to %s) at %s") % (*figures, word(f"{row['cost']:.3g}"))
        else:
            figures = [word(f"{row[axis]:,.4g}") for axis in ("y", "x")]
            name, told = row["series"], word("%s at %s") % tuple(figures)
        lines.setdefault(name, []).append(told)
    told = "; ".join(f"{name}: {', '.join(points)}" for name, points in lines.items())
    x, y = (layers[-1]["encoding"][axis].get("title") for axis in ("x", "y"))
    return word("%s over %s. %s.") % (y, x, told) if x else told


def _drawn(panel: Panel) -> tuple[list[Spec], list[Spec]]:
    """The panel's layers, and what they draw."""
    rows: list[Spec] = []
    colours: list[str] = []
    taken = {line.colour for line in panel.series.values()}
    free = cycle([colour for colour in (*OTHERS, *MEMBERS) if colour not in taken] or OTHERS)
    for name, line in panel.series.items():
        colours.append(line.colour or next(free))
        for order, (x, y) in enumerate(line.points):
            count = {"count": line.counts[order]} if line.counts else {}
            rows.append({"series": name, "x": round(x, 9), "y": round(y, 9), "order": order, **count})
    names = list(panel.series)
    dashes = [_DASHES[index % len(_DASHES)] for index in range(len(names))]
    x_scale, y_scale = (_scale([row[axis] for row in rows], panel.end) for axis in ("x", "y"))
    tips = [_name("series", title="name"), _number("x", title=panel.x_label, format=",.4~g")]
    tips.append(_number("y", title=panel.y_label, format=",.4~g"))
    base = {
        "x": _number("x", title=panel.x_label, scale=x_scale),
        "y": _number("y", title=panel.y_label, scale=y_scale),
        "color": _name("series", scale={"domain": names, "range": colours}, legend=_LEGEND),
        "opacity": {"condition": {"param": "chosen", "value": 1}, "value": _FAINT},
        "order": _number("order"),
        "tooltip": tips,
    }
    dash = _name("series", scale={"domain": names, "range": dashes}, legend=_LEGEND)
    dots = dict(base)
    if any(series.counts for series in panel.series.values()):
        area = {"domainMin": 0, "range": [_MIN_AREA, _MAX_AREA]}
        dots |= {"size": _number("count", scale=area, legend=None), "tooltip": [*tips, _number("count")]}
    lines = {"mark": {"type": "line", "strokeWidth": 2}, "encoding": {**base, "strokeDash": dash}, "params": _CHOOSING}
    return [lines, {"mark": _DOT, "encoding": dots}], rows


def _scale(values: Sequence[float], end: float | None) -> Spec:
    """A scale from zero; up to one if all values are zero."""
    furthest = end or (None if any(values) else 1)
    pixels = {"padding": _PADDING, "nice": False}  # otherwise dots at the ends would be cut
    return {"zero": True, **pixels} if furthest is None else {"domain": [0, furthest], **pixels}
