"""The alignment suite's report for the terminal: a table per figure, a column per system."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from gac_app.evaluation.suites.alignment_figures import ANSWER_UNDER, FIGURES, AlignmentReport
from gac_app.evaluation.suites.texts import CODE_KINDS, KINDS, LANGUAGES

_GROUPS = {"all code": CODE_KINDS, "all languages": LANGUAGES}


def tables(report: AlignmentReport) -> list[Table]:
    """One table per figure, with a row per kind of text that has it."""
    members = dict.fromkeys(
        name.removeprefix(ANSWER_UNDER)
        for results in report.systems.values()
        for result in results
        for name in result.figures
        if name.startswith(ANSWER_UNDER)
    )
    titles = FIGURES | {f"{ANSWER_UNDER}{member}": f"bits per byte of the answers under {member}" for member in members}
    return [table for name, title in titles.items() if (table := _table(report, name, title)).row_count]


def _table(report: AlignmentReport, name: str, title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for system in report.systems:
        table.add_column(system, justify="right")
    for label, kinds in _rows(report):
        values = [report.figure(system, kinds, name) for system in report.systems]
        if any(value is not None for value in values):
            table.add_row(label, *("" if value is None else f"{value:.3f}" for value in values))
    return table


def _rows(report: AlignmentReport) -> Iterator[tuple[str, tuple[str, ...]]]:
    measured = {result.kind for results in report.systems.values() for result in results}
    for kind in KINDS:
        if kind in measured:
            yield kind, (kind,)
    for label, kinds in _GROUPS.items():
        if len(measured.intersection(kinds)) > 1:
            yield label, kinds
