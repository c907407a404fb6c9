"""The result of a study, as values that terminal, page and files show; the format of its figures; its tables as CSV.

A member alone has the same colour as on the page.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import yaml
from pydantic import InstanceOf, TypeAdapter

from gac_app.charts import MEMBERS, OTHERS, Spec
from gac_app.errors import Phrase, joined
from gac_app.evaluation.metrics import Comparison, wilson_interval
from gac_app.evaluation.running import SystemReport
from gac_app.validation import harmless

_GLOSSARY = Path(__file__).with_name("glossary.yaml")
Text = InstanceOf[str]  # a phrase stays one
NOT_KNOWN = "–"  # in a cell without a figure

SHARED_TIMES = "Times say little here: systems share what they read of a question's choices."


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts. The first column names the row, the others hold figures."""

    columns: Sequence[Text]
    rows: Sequence[Sequence[Text]]
    title: Text = ""


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """A system's answer to a question. `prediction`: the part extracted from the text, or the choice."""

    system: Text
    prediction: str
    is_right: bool
    text: str = ""
    error: Text = ""


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """A question with all answers. `prompt`: the question as asked in a chat."""

    id: str
    prompt: str
    accepted: str
    answers: Sequence[GivenAnswer]


@dataclass(frozen=True, slots=True)
class StudyResult:
    """A study's outcome.

    Attributes:
        study: its name.
        heading: the questions, such as "triviaqa: 300 questions".
        data: all figures, of JSON's own types.
        remarks: conclusions, a sentence each.
        plots: charts to show side by side; may be empty.
        failure: the failed answers, which count as wrong, and why they failed.
        asked: each question with all answers; empty if a study asks nothing.
        settings: for a configuration, as YAML; "" if the study advises none.
    """

    study: str
    heading: Text
    tables: Sequence[Table]
    data: Mapping[str, Any]
    remarks: Sequence[Text] = ()
    plots: Sequence[Spec] = ()
    failure: Text = ""
    asked: Sequence[AskedQuestion] = ()
    settings: str = ""


_RESULT = TypeAdapter(StudyResult)


def result_from_json(found: object) -> StudyResult:
    """The inverse of `dataclasses.asdict`. Raises ValueError."""
    return _RESULT.validate_python(found)


def to_csv(tables: Sequence[Table]) -> str:
    """The tables as they are shown, separated by empty lines. No cell can be taken for a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for number, table in enumerate(tables):
        rows = [[table.title]] if table.title else []
        rows += [[*row] for row in (table.columns, *table.rows)]
        writer.writerows([[]] * bool(number) + [[harmless(cell) for cell in row] for row in rows])
    return out.getvalue()


def table_of(cells: Mapping[str, Callable[[Any], str]], rows: Iterable[Any], title: str = "") -> Table:
    """A table with a row for each of `rows`.

    Args:
        cells: each column's cell in a row, by the column's name.
    """
    return Table(tuple(cells), [[cell(row) for cell in cells.values()] for row in rows], title)


def report_cells(*columns: str) -> dict[str, Callable[[SystemReport], str]]:
    """The columns of these names, of a table of systems."""
    return {column: _CELLS[column] for column in columns}


def share(num_right: int, num_all: int) -> str:
    """A share with its 95 % interval; a dash if the total is 0. Example: "15.5% (11.1% to 21.2%)"."""
    if not num_all:
        return NOT_KNOWN
    low, high = wilson_interval(num_right, num_all)
    return Phrase("{share} ({low} to {high})", share=f"{num_right / num_all:.1%}", low=f"{low:.1%}", high=f"{high:.1%}")


def figure(value: float | None, digits: int) -> str:
    """The number; a dash if unknown."""
    return NOT_KNOWN if value is None else f"{value:.{digits}f}"


def compared(comparison: Comparison | None) -> str:
    """Example: "+2.0% (p 0.34)"; a dash for what is compared with itself."""
    return (
        NOT_KNOWN
        if comparison is None
        else Phrase("{share} (p {p})", share=f"{comparison.delta:+.1%}", p=f"{comparison.p:.2g}")
    )


def failure(reports: Iterable[SystemReport]) -> str:
    """A sentence on answers that failed and count as wrong; "" if there are none."""
    failed = [(report.system.name, error) for report in reports for error in report.errors]
    if not failed:
        return ""
    numbers = Counter(name for name, _ in failed).items()
    counts = joined(", ", [Phrase("{name} {count}", name=name, count=count) for name, count in numbers])
    template = "Answers failed and count as wrong ({counts}). The first: {error}"
    return Phrase(template, counts=counts, error=failed[0][1])


def questions_asked(task: str, num: int) -> str:
    """The heading of most studies: trivia: 40 questions."""
    return Phrase("{task}: {count} questions", task=Phrase(task), count=num)


_CELLS: dict[str, Callable[[SystemReport], str]] = {
    "system": lambda report: report.system.name,
    "accuracy (95 %)": lambda report: share(report.num_right, len(report.answers)),
    "failed": lambda report: str(len(report.errors)),
    "ensembled": lambda report: f"{report.share_ensembled:.1%}",
    "ms/token": lambda report: figure(report.ms_per_token, 1),
    "s/answer": lambda report: figure(report.seconds_per_answer, 2),
    "member-s": lambda report: figure(report.member_seconds_per_answer, 2),
    "vs best member": lambda report: compared(report.vs_best_member),
}


def colours_of(names: Sequence[str], members: Sequence[str]) -> dict[str, str]:
    """A colour for each system's name."""
    others = cycle(OTHERS)
    return {name: member_colour(name.removeprefix("alone:"), members) or next(others) for name in names}


def member_colour(name: str, members: Sequence[str]) -> str:
    """A member's colour on the page; "" if there is no such member."""
    return MEMBERS[members.index(name) % len(MEMBERS)] if name in members else ""


def explained(result: StudyResult) -> dict[str, str]:
    """The names in a result's tables, each with its meaning, for first-time readers."""
    columns = [column for table in result.tables for column in table.columns]
    systems = [row[0] for table in result.tables if table.columns[0] == "system" for row in table.rows]
    glossary: dict[str, dict[str, str]] = yaml.safe_load(_GLOSSARY.read_text(encoding="utf-8"))
    about_systems = glossary["systems"].items()
    found = {name: about for name, about in about_systems if any(system.startswith(name) for system in systems)}
    about_columns = glossary["columns"].items()
    return found | {name: about for name, about in about_columns if any(_is_in(name, column) for column in columns)}


def _is_in(name: str, column: str) -> bool:
    """Whether a column has that name, whatever follows a space, a comma or a bracket."""
    plain = column.removesuffix(" (95 %)")
    return (
        plain == name
        or (column.startswith(name) and name.endswith(" "))
        or plain.endswith(f", {name}")
        or (name not in ("ECE", "nats") and plain.startswith((f"{name} ", f"{name},")))
    )
