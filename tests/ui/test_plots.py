"""Charts in the page's language, the descriptions that screen readers say too."""

from __future__ import annotations

from typing import Any

from gac_app.charts import Panel, Series, heat_map, line_charts, rated_costs
from gac_app.errors import Phrase
from gac_app.ui.plots import in_language, in_lines


def described(specs: list[dict[str, Any]], language: str) -> list[str]:
    return [spec["description"] for spec in in_language(specs, language)]


def test_a_chart_is_described_in_the_pages_language() -> None:
    points = {"every step": Series([(12.5, 1000), (25, 50)]), "best choice": Series([(1, 2)])}
    lines = line_charts("t", [Panel("steps ensembled, %", "accuracy, %", points)])
    assert described(lines, "en") == [
        "accuracy, % over steps ensembled, %. every step: 1,000 at 12.5, 50 at 25; best choice: 2 at 1."
    ]
    assert described(lines, "de") == [
        "Trefferquote, % gegen gemeinsame Schritte, %. "
        "jeder Schritt: 1.000 bei 12,5, 50 bei 25; beste Auswahl: 2 bei 1."
    ]
    name = Phrase("{name} alone", name="Small")
    rated = rated_costs("ms per token", [{"name": name, "cost": 2.5, "rating": 1010.4, "low": 900, "high": 1100}])
    assert described([rated], "de") == ["Wertung gegen ms je Token. Small allein: 1010 (900 bis 1100) bei 2,5."]
    shares = heat_map("t", ("after a space",), {"common English": [0.25]})
    assert described(shares, "de") == ["häufiges Englisch: 25,0%"]


def test_a_long_title_stands_on_several_lines() -> None:
    [chart] = heat_map("Words cut into the same tokens: Qwen2.5-Coder-0.5B-Instruct / SmolLM2", ("x",), {"a": [0.5]})
    assert in_lines(chart)["title"] == [
        "Words cut into the same tokens:",
        "Qwen2.5-Coder-0.5B-Instruct / SmolLM2",
    ]
    assert in_lines({"mark": "point"}) == {"mark": "point"}
