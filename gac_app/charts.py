"""Charts as Vega-Lite specifications. The page draws them; `to_svg` and `to_png` write them without a browser.

Colours are the page's variables (`static/css/palette.css`), so that a chart follows the theme. Picture files get the
light theme's values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

Point = tuple[float, float]
Spec = dict[str, Any]  # of one panel, JSON-able; as wide as its container

INK, SOFT, LINE, CARD = "var(--ink)", "var(--ink-soft)", "var(--line)", "var(--card)"
MEMBERS = tuple(f"var(--w{index})" for index in range(6))
OTHERS = (INK, "var(--gate-strong)", "var(--doubt-colour)", "var(--good)", SOFT)
_LIGHT = {
    **{"ink": "#1a1c20", "ink-soft": "#5b606a", "line": "#e2e2dc", "card": "#ffffff"},
    **{"gate-strong": "#b26b00", "doubt-colour": "#8a4fd8", "good": "#1f7a4d"},
    **{"w0": "#0072b2", "w1": "#d55e00", "w2": "#009e73", "w3": "#cc79a7", "w4": "#e69f00", "w5": "#56b4e9"},
}
_VERSION = "5.21"  # of Vega-Lite: Gradio's version
_HEIGHT, _STILL_WIDTH, _PNG_SCALE = 260, 380, 2
_DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
_MIN_AREA, _MAX_AREA = 30, 400  # of a dot, square pixels
_NAME_PX = 16  # between names one below the other
_PADDING = 8  # pixels between the axes' ends and the outermost points
_FAINT = 0.15  # opacity of series that are not chosen in the legend
_MAX_FILL = 0.55  # opacity of a heat map's cell, for readable text in both themes
_NAME_ROOM = 1.3  # of the highest cost, so that its name fits beside it
ZOOM = "wheel![event.shiftKey]"  # without shift, the wheel scrolls the page


@dataclass(frozen=True, slots=True)
class Series:
    """Points, joined by a line. `counts`: the number behind each point, drawn as its area."""

    points: Sequence[Point]
    colour: str = ""  # "" = a colour of its own
    counts: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes from zero; `series` by their names in the legend."""

    x_label: str
    y_label: str
    series: Mapping[str, Series]
    end: float | None = None  # of both axes; None = the largest value


@dataclass(frozen=True, slots=True)
class Rated:
    """A rating with its 95 % interval, and its cost."""

    name: str
    cost: float
    rating: float
    low: float
    high: float


def line_charts(title: str, panels: Sequence[Panel]) -> list[Spec]:
    """A specification per panel; the first has the title."""
    return [
        finished(_drawn(panel), title if not number else "", _in_words(panel)) for number, panel in enumerate(panels)
    ]


def heat_map(title: str, columns: Sequence[str], rows: Mapping[str, Sequence[float]]) -> list[Spec]:
    """Shares, 0 to 1, as cells; larger ones are darker."""
    import altair as alt

    cells = [
        {"row": row, "column": column, "share": share}
        for row, shares in rows.items()
        for column, share in zip(columns, shares, strict=True)
    ]
    base = alt.Chart(alt.InlineData(cells)).encode(
        x=alt.X("column:N", title=None, sort=None, axis=alt.Axis(orient="top", labelAngle=0, labelLimit=160)),
        y=alt.Y("row:N", title=None, sort=None, axis=alt.Axis(labelLimit=180)),
        tooltip=[alt.Tooltip("row:N"), alt.Tooltip("column:N"), alt.Tooltip("share:Q", format=".1%")],
    )
    opacity = alt.Opacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0, _MAX_FILL]), legend=None)
    chart = base.mark_rect(color=MEMBERS[0], stroke=LINE).encode(opacity=opacity)
    chart += base.mark_text(color=INK, fontSize=12).encode(text=alt.Text("share:Q", format=".1%"))
    told = "; ".join(f"{row}: {', '.join(f'{share:.1%}' for share in shares)}" for row, shares in rows.items())
    return [finished(chart, title, told, height=22 * len(rows))]


def rated_costs(cost_label: str, points: Sequence[Rated]) -> Spec:
    """Ratings with intervals over costs, with names."""
    import altair as alt

    gap = _NAME_PX / _HEIGHT * (max(point.high for point in points) - min(point.low for point in points))
    names_at = _apart([point.rating for point in points], gap)
    rows = [{**asdict(point), "name_at": at} for point, at in zip(points, names_at, strict=True)]
    rating = alt.Scale(zero=False, padding=_PADDING, nice=False)
    cost = alt.Scale(domain=[0, _NAME_ROOM * max(point.cost for point in points) or 1], nice=False)
    tips = [alt.Tooltip("name:N"), alt.Tooltip("cost:Q", title=cost_label, format=",.3~g")]
    tips += [alt.Tooltip(f"{field}:Q", format=",.0f") for field in ("rating", "low", "high")]
    base = alt.Chart(alt.InlineData(rows)).encode(x=alt.X("cost:Q", title=cost_label, scale=cost), tooltip=tips)
    low = alt.Y("low:Q", title="rating", scale=rating)
    chart = base.mark_rule(color=SOFT, strokeWidth=2).encode(y=low, y2="high:Q")
    chart += base.mark_point(color=INK, filled=True, size=70, opacity=1).encode(y=alt.Y("rating:Q", scale=rating))
    name = base.mark_text(color=INK, align="left", dx=8, dy=-8, fontSize=12, limit=160)
    chart += name.encode(y=alt.Y("name_at:Q", scale=rating), text="name:N")
    told = "; ".join(
        f"{one.name}: {one.rating:.0f} ({one.low:.0f} to {one.high:.0f}) at {one.cost:.3g}" for one in points
    )
    return finished(chart, "", f"rating over {cost_label}. {told}.")


def _apart(values: Sequence[float], gap: float) -> list[float]:
    """Positions at or just above the values, in their order, at least `gap` apart."""
    found, last = [0.0] * len(values), -float("inf")
    for at in sorted(range(len(values)), key=values.__getitem__):
        found[at] = last = max(values[at], last + gap)
    return found


def finished(chart: Any, title: str, description: str, height: int = _HEIGHT) -> Spec:
    """The specification of an Altair chart in the page's style."""
    axis = {"labelColor": SOFT, "titleColor": INK, "gridColor": LINE, "domainColor": SOFT, "tickColor": SOFT}
    sizes = {"labelFontSize": 12, "titleFontSize": 13, "titleFontWeight": "normal"}
    config = {
        "font": "IBM Plex Sans, sans-serif",
        "background": "transparent",
        "view": {"stroke": LINE},
        "axis": {**axis, **sizes},
        "legend": {"labelColor": INK, "titleColor": INK, **sizes},
        "title": {"color": INK, "fontSize": 14, "anchor": "start"},
    }
    chart = chart.properties(width="container", height=height, description=description)
    spec: Spec = (chart.properties(title=title) if title else chart).to_dict()
    [values] = spec.pop("datasets").values()
    spec["data"] = {"values": values}
    # Drawn as SVG, whose colours may be variables; without a menu of external links.
    schema = {"$schema": f"https://vega.github.io/schema/vega-lite/v{_VERSION}.json"}
    return {**spec, **schema, "config": config, "usermeta": {"embedOptions": {"renderer": "svg", "actions": False}}}


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
    text = json.dumps([_without_operation(plot) for plot in plots])
    panels: list[Spec] = json.loads(re.sub(r"var\(--([\w-]+)\)", lambda found: _LIGHT.get(found[1], found[0]), text))
    config = {**panels[0]["config"], "background": "#ffffff"}
    panels = [{**panel, "width": _STILL_WIDTH} for panel in panels]
    for panel in panels:
        del panel["config"]
    apart = {"scale": {"color": "independent", "strokeDash": "independent"}}
    return {"$schema": panels[0]["$schema"], "hconcat": panels, "config": config, "resolve": apart}


def _without_operation(part: Any) -> Any:
    if isinstance(part, list):
        return [_without_operation(one) for one in part]
    if isinstance(part, dict):
        return {
            key: _without_operation(value)
            for key, value in part.items()
            if key not in ("params", "usermeta") and not (key == "opacity" and "condition" in str(value))
        }
    return part


def _in_words(panel: Panel) -> str:
    """A panel in words."""
    lines = []
    for name, line in panel.series.items():
        lines.append(f"{name}: " + ", ".join(f"{y:,.4g} at {x:,.4g}" for x, y in line.points))
    return f"{panel.y_label} over {panel.x_label}. {'; '.join(lines)}."


def _drawn(panel: Panel) -> Any:
    import altair as alt

    rows: list[dict[str, Any]] = []
    colours: list[str] = []
    free = iter((*OTHERS, *MEMBERS) * len(panel.series))
    for name, line in panel.series.items():
        colours.append(line.colour or next(colour for colour in free if colour not in colours))
        for order, (x, y) in enumerate(line.points):
            count = {"count": line.counts[order]} if line.counts else {}
            rows.append({"series": name, "x": round(x, 9), "y": round(y, 9), "order": order, **count})
    names = list(panel.series)
    dashes = [_DASHES[index % len(_DASHES)] for index in range(len(names))]
    x_scale, y_scale = (_scale(alt, [row[axis] for row in rows], panel.end) for axis in ("x", "y"))
    legend = alt.Legend(
        title=None, orient="bottom", columns=1, labelLimit=320, symbolType="circle", symbolStrokeWidth=0
    )
    chosen = alt.selection_point(name="chosen", fields=["series"], bind="legend")
    moved = alt.selection_interval(name="moved", bind="scales", zoom=ZOOM)
    tips = [alt.Tooltip("series:N", title="name"), alt.Tooltip("x:Q", title=panel.x_label, format=",.4~g")]
    tips.append(alt.Tooltip("y:Q", title=panel.y_label, format=",.4~g"))
    base = alt.Chart(alt.InlineData(rows)).encode(
        x=alt.X("x:Q", title=panel.x_label, scale=x_scale),
        y=alt.Y("y:Q", title=panel.y_label, scale=y_scale),
        color=alt.Color("series:N", scale=alt.Scale(domain=names, range=colours), legend=legend),
        opacity=alt.condition(chosen, alt.value(1), alt.value(_FAINT)),
        order="order:Q",
        tooltip=tips,
    )
    dash = alt.StrokeDash("series:N", scale=alt.Scale(domain=names, range=dashes), legend=legend)
    line, dots = base.mark_line(strokeWidth=2).encode(strokeDash=dash), base.mark_point(filled=True, size=70, opacity=1)
    if any(series.counts for series in panel.series.values()):
        area = alt.Size("count:Q", scale=alt.Scale(domainMin=0, range=[_MIN_AREA, _MAX_AREA]), legend=None)
        dots = dots.encode(size=area, tooltip=[*tips, alt.Tooltip("count:Q")])
    return (line + dots).add_params(chosen, moved)


def _scale(alt: Any, values: Sequence[float], end: float | None) -> Any:
    """A scale from zero; up to one if all values are zero."""
    furthest = end or (None if max(values) > 0 else 1)
    pixels = {"padding": _PADDING, "nice": False}  # otherwise dots at the ends would be cut
    return alt.Scale(zero=True, **pixels) if furthest is None else alt.Scale(domain=[0, furthest], **pixels)
