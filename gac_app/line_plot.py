"""Line plots as SVG documents: panels beside each other, axes from zero, a dot per measured point."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gac_app.svg import document, text

Point = tuple[float, float]

# Okabe and Ito's colours, told apart by the colour-blind.
_GREY = "#767676"
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", _GREY)
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _GAP = 340, 220, 70, 56, 80, 90
_LEGEND_LINE = 16  # the bottom has room for two
_NUM_TICKS = 4
_ROUND = (1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10)  # what a tick may be, times a power of ten


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes; `series` are points by the name that the legend gives them."""

    x_label: str
    y_label: str
    series: Mapping[str, Sequence[Point]]


def line_plot(title: str, panels: Sequence[Panel]) -> str:
    """An SVG document."""
    body = [text(_LEFT, 24, title, size=15)]
    for column, panel in enumerate(panels):
        body += _drawn(panel, _LEFT + column * (_WIDTH + _GAP))
    width = _LEFT + len(panels) * (_WIDTH + _GAP) - _GAP + 20
    num_named = max(len(panel.series) for panel in panels)
    height = _TOP + _HEIGHT + _BOTTOM + _LEGEND_LINE * max(num_named - 2, 0)
    return document(width, height, title, " ".join(map(_told, panels)), body)


def _told(panel: Panel) -> str:
    """A panel in words."""
    lines = []
    for name, points in panel.series.items():
        lines.append(f"{name}: " + ", ".join(f"{y:,.4g} at {x:,.4g}" for x, y in points))
    return f"{panel.y_label} over {panel.x_label}. {'; '.join(lines)}."


def axis_end(largest: float) -> float:
    """Where an axis ends so that its ticks are round numbers: a few digits, then noughts.

    Example: `axis_end(37)` is 40, `axis_end(4064)` is 5000.
    """
    if largest <= 0:
        return 1.0
    step = largest / _NUM_TICKS
    power = 10.0 ** math.floor(math.log10(step))
    return _NUM_TICKS * next(power * factor for factor in _ROUND if step <= power * factor * (1 + 1e-9))


def _drawn(panel: Panel, left: float) -> list[str]:
    points = [point for line in panel.series.values() for point in line]
    end_x, end_y = axis_end(max(x for x, _ in points)), axis_end(max(y for _, y in points))
    bottom = _TOP + _HEIGHT

    def place(point: Point) -> tuple[float, float]:
        return left + point[0] / end_x * _WIDTH, bottom - point[1] / end_y * _HEIGHT

    shapes = [
        f'<path d="M{left} {_TOP}V{bottom}H{left + _WIDTH}" fill="none" stroke="{_GREY}"/>',
        text(left + _WIDTH / 2, bottom + 36, panel.x_label, anchor="middle"),
        text(left, _TOP - 8, panel.y_label),
    ]
    for tick in range(_NUM_TICKS + 1):
        value_x, value_y = end_x * tick / _NUM_TICKS, end_y * tick / _NUM_TICKS
        x, y = place((value_x, value_y))
        shapes.append(text(x, bottom + 16, f"{value_x:,g}", anchor="middle", size=10))
        shapes.append(text(left - 6, y + 4, f"{value_y:,g}", anchor="end", size=10))
    drawn = [[f"{x:.1f} {y:.1f}" for x, y in map(place, line)] for line in panel.series.values()]
    for index, (name, line) in enumerate(panel.series.items()):
        colour = _COLOURS[index % len(_COLOURS)]
        # What later lines would hide is drawn larger, and shows behind them.
        num_same = drawn[index + 1 :].count(drawn[index])
        path = "L".join(drawn[index])
        shapes.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="{2 + 3 * num_same}"/>')
        for at, point in zip(drawn[index], line, strict=True):
            cx, cy = at.split()
            radius = 3.5 + 2.5 * sum(at in later for later in drawn[index + 1 :])
            tip = f"<title>{point[0]:,g}: {point[1]:,.1f}</title>"
            shapes.append(f'<circle cx="{cx}" cy="{cy}" r="{radius:g}" fill="{colour}">{tip}</circle>')
        legend_y = bottom + 56 + _LEGEND_LINE * index
        shapes.append(f'<circle cx="{left + 4}" cy="{legend_y - 4}" r="4" fill="{colour}"/>')
        shapes.append(text(left + 14, legend_y, name, size=11))
    return shapes
