"""How the commands that judge systems print figures and tables."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from gac_app.evaluation.report import SystemReport
from gac_app.evaluation.statistics import Comparison, wilson_interval


def print_whole(heading: str, table: Table) -> None:
    """Print a table with its rows in one piece, however narrow the terminal is or where there is none."""
    console = Console(markup=False, highlight=False)
    console.width = max(console.width, console.measure(table, options=console.options.update(max_width=1000)).maximum)
    console.print(heading)
    console.print(table)


def accuracy(report: SystemReport) -> str:
    """Example: "15.5% (11.1% to 21.2%)"."""
    return share(report.num_right, report.num_questions)


def share(num_right: int, num_all: int) -> str:
    """With its 95 % interval; "" where there is nothing to have a share of."""
    if not num_all:
        return ""
    low, high = wilson_interval(num_right, num_all)
    return f"{num_right / num_all:.1%} ({low:.1%} to {high:.1%})"


def figure(value: float | None, digits: int) -> str:
    """The number; "" where it is not known."""
    return "" if value is None else f"{value:.{digits}f}"


def compared(comparison: Comparison | None) -> str:
    """Example: "+2.0% (p 0.34)"."""
    return "" if comparison is None else f"{comparison.delta:+.1%} (p {comparison.p:.2g})"
