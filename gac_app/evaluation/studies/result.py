"""The result of a study, as values that terminal, page and files show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from gac_app.charts import Spec

NOT_KNOWN = "–"  # in a cell without a figure


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts. The first column names the row, the others hold figures."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """A system's answer to a question. `prediction`: the part extracted from the text, or the choice."""

    system: str
    prediction: str
    is_right: bool
    text: str = ""
    error: str = ""


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
    """

    study: str
    heading: str
    tables: Sequence[Table]
    data: Mapping[str, Any]
    remarks: Sequence[str] = ()
    plots: Sequence[Spec] = ()
    failure: str = ""
    asked: Sequence[AskedQuestion] = ()


_RESULT = TypeAdapter(StudyResult)


def result_from_json(found: object) -> StudyResult:
    """The inverse of `dataclasses.asdict`. Raises ValueError."""
    return _RESULT.validate_python(found)
