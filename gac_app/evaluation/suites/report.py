"""The alignment suite's answers and figures, for one system on one kind of text; the report of all; and its tables for
the terminal, one per figure, with a column per system.
"""

from __future__ import annotations

import codecs
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.table import Table

from gac_app.evaluation.suites.code import INDENTATION_CHECKS, PARSERS, before_fence
from gac_app.evaluation.suites.texts import CODE_KINDS, KINDS, LANGUAGES, LATIN, SCRIPTS, script_share

if TYPE_CHECKING:
    from gac_app.decoding.scoring import Score


# Figure -> its meaning. All are shares, except the last two: bits per byte; less is better.
FIGURES = {
    "parses": "code whose complete lines parse",
    "parses_before_fence": "code whose complete lines parse, up to where a Markdown fence ends it",
    "indentation": "code indented in one way",
    "utf8": "answers without broken characters",
    "script": "letters in the prompt's script",
    "script_or_latin": "letters in the prompt's script or Latin",
    "held_out": "bits per byte of held-out text",
}
ANSWER_UNDER = "answer_under:"  # and a member: bits per byte of the answers under that member alone
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True)
class Continuation:
    """What a system wrote after `prompt`.

    Attributes:
        content: the bytes of all tokens.
        is_stopped: it ended before the limit of new tokens.
        scores: its text's, under each member alone; empty for an empty text.
    """

    prompt: str
    content: bytes
    is_stopped: bool = False
    scores: dict[str, Score] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The content as text, with U+FFFD for invalid UTF-8, without a character that the limit cut off."""
        return codecs.getincrementaldecoder("utf-8")("replace").decode(self.content, final=self.is_stopped)

    @property
    def is_valid_utf8(self) -> bool:
        """Whether the text is valid UTF-8 and holds no replacement character."""
        return REPLACEMENT not in self.text

    @property
    def document(self) -> str:
        """Prompt and answer. If the answer ended before the limit, its last line is complete."""
        return self.prompt + self.text + ("\n" if self.is_stopped else "")


@dataclass(frozen=True, slots=True)
class KindResult:
    """One system on one kind of text. `figures` has only those defined for the kind."""

    kind: str
    answers: tuple[Continuation, ...]
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class AlignmentReport:
    """The suite's outcome: results by system name and kind."""

    max_new_tokens: int
    systems: Mapping[str, tuple[KindResult, ...]]

    def figure(self, system: str, kinds: Sequence[str], name: str) -> float | None:
        """A figure over several kinds, weighted by numbers of prompts; None if no kind has it."""
        counted = [
            (result.figures[name], len(result.answers))
            for result in self.systems[system]
            if result.kind in kinds and name in result.figures
        ]
        if not counted:
            return None
        return sum(value * count for value, count in counted) / sum(count for _, count in counted)

    def to_json(self) -> dict[str, Any]:
        """Figures and answers by system and kind, of JSON's own types."""
        return {
            "suite": "alignment",
            "max_new_tokens": self.max_new_tokens,
            "systems": {name: {r.kind: _kind_json(r) for r in results} for name, results in self.systems.items()},
        }


def measure(kind: str, answers: Sequence[Continuation], held_out: Sequence[Score]) -> KindResult:
    """The figures of one system on one kind. `held_out`: the passages' scores under the system."""
    members = dict.fromkeys(member for answer in answers for member in answer.scores)
    under = {member: [answer.scores[member] for answer in answers if answer.scores] for member in members}
    documents, letters = [answer.document for answer in answers], "".join(answer.text for answer in answers)
    cut = list(map(before_fence, documents))
    figures = {
        "parses": _share(documents, PARSERS.get(kind)),
        "parses_before_fence": None if kind == "markdown" else _share(cut, PARSERS.get(kind)),  # its fences are its own
        "indentation": _share(documents, INDENTATION_CHECKS.get(kind)),
        "utf8": sum(answer.is_valid_utf8 for answer in answers) / len(answers),
        "script": script_share(letters, SCRIPTS[kind]) if kind in SCRIPTS else None,
        "script_or_latin": script_share(letters, SCRIPTS[kind] | LATIN) if kind in SCRIPTS else None,
        "held_out": bits_per_byte(held_out),
        **{f"{ANSWER_UNDER}{member}": bits_per_byte(scores) for member, scores in under.items()},
    }
    return KindResult(kind, tuple(answers), {name: value for name, value in figures.items() if value is not None})


def bits_per_byte(scores: Sequence[Score]) -> float | None:
    """Bits per byte of all scored texts together; None if they are empty."""
    num_bytes = sum(score.num_bytes for score in scores)
    if not num_bytes:
        return None
    return -sum(score.log_prob for score in scores) / num_bytes / math.log(2)


def _share(documents: Sequence[str], check: Callable[[str], bool] | None) -> float | None:
    return sum(map(check, documents)) / len(documents) if check else None


def _kind_json(result: KindResult) -> dict[str, Any]:
    return {
        "figures": dict(result.figures),
        "answers": [{"prompt": answer.prompt, "text": answer.text} for answer in result.answers],
    }


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
