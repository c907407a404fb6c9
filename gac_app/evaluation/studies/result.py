"""What a study found, as values that terminal, page and files all show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gac_app.charts import Spec

NOT_KNOWN = "–"  # in a cell that has no figure


@dataclass(frozen=True, slots=True)
class Table:
    """Texts in rows under columns. The first column names the row, the others hold figures."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """A system's answer to a question. `prediction`: what was extracted from the text, or the choice."""

    system: str
    prediction: str
    is_right: bool
    text: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """A question with all answers. `prompt`: the question as one would ask it in a chat."""

    id: str
    prompt: str
    accepted: str
    answers: Sequence[GivenAnswer]


@dataclass(frozen=True, slots=True)
class StudyResult:
    """A study's outcome.

    Attributes:
        study: its name.
        heading: what it ran on: "triviaqa: 300 questions".
        data: all figures, of JSON's own types.
        remarks: conclusions from the tables, a sentence each.
        plots: charts beside each other; none where there is nothing to draw.
        failure: which answers failed and count as wrong, and why.
        asked: each question with all answers; none where a study asks nothing.
    """

    study: str
    heading: str
    tables: Sequence[Table]
    data: Mapping[str, Any]
    remarks: Sequence[str] = ()
    plots: Sequence[Spec] = ()
    failure: str = ""
    asked: Sequence[AskedQuestion] = ()


def result_from_json(found: Mapping[str, Any]) -> StudyResult:
    """What `dataclasses.asdict` made of a result. Raises TypeError, KeyError."""
    tables = [Table(**table) for table in found["tables"]]
    asked = [
        AskedQuestion(**{**one, "answers": [_answer_from_json(answer) for answer in one["answers"]]})
        for one in found.get("asked", ())
    ]
    return StudyResult(**{**found, "tables": tables, "asked": asked})


def _answer_from_json(found: Mapping[str, Any]) -> GivenAnswer:
    fields = dict(found)
    if "said" in fields:  # as older results call it
        fields["prediction"] = fields.pop("said")
    return GivenAnswer(**fields)
