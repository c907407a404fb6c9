"""Reliability diagrams: a column per system, as it is above and after temperature scaling below."""

from __future__ import annotations

from gac_app.evaluation.calibration import Calibration
from gac_app.evaluation.calibration_study import CalibrationReport
from gac_app.svg import document, text

_SIZE, _GAP, _TOP = 240, 56, 60  # of a panel, between panels, above the first row
_BLUE, _GREY = "#0072b2", "#767676"
_MAX_RADIUS = 12.0


def reliability_diagram(report: CalibrationReport) -> str:
    """An SVG document: a dot per bin, its area the share of predictions in it; on the diagonal confidence is right."""
    heading = f"Reliability on {report.task}, {report.num_questions} questions"
    body = [text(_GAP, 22, heading, size=15)]
    for column, (name, system) in enumerate(report.systems.items()):
        x = _GAP + column * (_SIZE + _GAP)
        scaling = system.scaling
        body += _panel(x, _TOP, name, system.overall)
        title = f"half of them, temperature {scaling.temperature:.2f}"
        body += _panel(x, _TOP + _SIZE + _GAP + 20, title, scaling.after)
    width = max(_GAP + len(report.systems) * (_SIZE + _GAP), 400)
    height = _TOP + 2 * (_SIZE + _GAP + 20)
    told = "; ".join(f"{name}: ECE {system.overall.ece:.3f}" for name, system in report.systems.items())
    return document(width, height, heading, f"Accuracy over confidence, in bins. {told}.", body)


def _panel(x: float, y: float, title: str, found: Calibration) -> list[str]:
    bottom = y + _SIZE
    figures = f"ECE {found.ece:.3f} (by chance {found.chance_ece:.3f}), accuracy {found.accuracy:.3f}"
    shapes = [
        f'<rect x="{x}" y="{y}" width="{_SIZE}" height="{_SIZE}" fill="none" stroke="{_GREY}"/>',
        f'<path d="M{x} {bottom}L{x + _SIZE} {y}" stroke="{_GREY}" stroke-dasharray="4"/>',
        text(x + _SIZE / 2, bottom + 28, "confidence", anchor="middle"),
        f'<g transform="translate({x - 28} {y + _SIZE / 2}) rotate(-90)">',
        text(0, 0, "accuracy", anchor="middle") + "</g>",
    ]
    for value in (0, 0.5, 1):
        shapes.append(text(x + value * _SIZE, bottom + 14, f"{value:g}", anchor="middle", size=10))
        shapes.append(text(x - 4, bottom - value * _SIZE + 4, f"{value:g}", anchor="end", size=10))
    for dot in found.bins:
        radius = max(1.5, _MAX_RADIUS * (dot.count / found.num_questions) ** 0.5)
        place = f'cx="{x + dot.confidence * _SIZE:.1f}" cy="{bottom - dot.accuracy * _SIZE:.1f}" r="{radius:.1f}"'
        tip = f"{dot.count} predictions: confidence {dot.confidence:.3f}, accuracy {dot.accuracy:.3f}"
        shapes.append(f'<circle {place} fill="{_BLUE}" fill-opacity="0.75"><title>{tip}</title></circle>')
    return [*shapes, text(x, y - 6, title), text(x + 6, y + 16, figures, size=11)]  # no dot hides them
