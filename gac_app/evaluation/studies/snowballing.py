"""Whether a wrong beginning snowballs: how often a system still reaches the right answer (paper, introduction).

Every system answers twice, greedily: from the prompt, and from the prompt and a wrong beginning (see `planting`), the
same for all. That beginning stands for an early error. Ensembles of whole answers choose among answers that all begin
with it. Both answers are judged by the text after the prompt or the plant: if answers are a few words, by whether it
contains an accepted answer; otherwise by the task's own rule. A system *recovers* if it was right without the plant and
is right with it. The *spread* of the error is the share of the words written without the plant that are kept with it,
by their place: an error that is soon corrected leaves the later words unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from difflib import SequenceMatcher
from typing import Any

from pydantic import Field

from gac_app.charts import SOFT, Panel, Series, line_charts
from gac_app.config import Config
from gac_app.errors import Phrase
from gac_app.evaluation.metrics import wilson_interval
from gac_app.evaluation.running import Graded, System, SystemReport, parse_systems, summarise, with_whole_answers
from gac_app.evaluation.studies.evaluator import Evaluator
from gac_app.evaluation.studies.planting import Plant, planted
from gac_app.evaluation.studies.result import (
    NOT_KNOWN,
    StudyResult,
    Table,
    colours_of,
    compared,
    failure,
    share,
    table_of,
)
from gac_app.evaluation.studies.study import QuestionStudy
from gac_app.evaluation.tasks import Question, Task, extracted, is_right, normalised

# Places of words in an answer, from 1; from first to last.
PLACES = ((1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (17, 32), (33, 64))


@dataclass(frozen=True, slots=True)
class Kept:
    """The share of the words at these places, written without the plant, that the system still writes with it."""

    first: int
    last: int
    num_words: int
    share: float


@dataclass(frozen=True, slots=True)
class Recovery:
    """One system's answers without and with the plant. The best member is the one most often right with it."""

    without: SystemReport
    planted: SystemReport

    @property
    def name(self) -> str:
        return self.planted.system.name

    @property
    def num_recovered(self) -> int:
        """Right with the plant, of those right without it."""
        return sum(a and b for a, b in zip(self.without.is_right, self.planted.is_right, strict=True))

    @property
    def kept(self) -> list[Kept]:
        """The spread of the error, by place, up to the longest answer."""
        pairs = zip(self.without.answers, self.planted.answers, strict=True)
        answers = [words_kept(a.text, b.text) for a, b in pairs if not (a.error or b.error)]
        by_place = {
            (first, last): [kept for words in answers for kept in words[first - 1 : last]] for first, last in PLACES
        }
        return [Kept(*place, len(words), sum(words) / len(words)) for place, words in by_place.items() if words]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        num_right, compared = self.without.num_right, self.planted.vs_best_member
        return {
            "accuracy_without": self.without.accuracy,
            "accuracy_planted": self.planted.accuracy,
            "ci_planted": list(self.planted.interval),
            "num_right_without": num_right,
            "num_recovered": self.num_recovered,
            "share_recovered": self.num_recovered / num_right if num_right else None,
            "ci_recovered": list(wilson_interval(self.num_recovered, num_right)) if num_right else None,
            "errors": len(self.without.errors) + len(self.planted.errors),
            "vs_best_member": compared and compared.to_json(),
            "kept_by_place": [asdict(kept) for kept in self.kept],
        }


_CELLS: dict[str, Callable[[Recovery], str]] = {
    "system": lambda one: one.name,
    "right without": lambda one: f"{one.without.accuracy:.1%}",
    "right with it (95 %)": lambda one: share(one.planted.num_right, len(one.planted.answers)),
    "recovered (95 %)": lambda one: share(one.num_recovered, one.without.num_right),
    "vs best member": lambda one: compared(one.planted.vs_best_member),
}


class Snowball(QuestionStudy):
    """Plant a wrong beginning in each answer, and measure how often each system still answers right."""

    name = "snowball"
    title = "Snowball"
    needs = "generation"
    place = 6
    plant: Plant = Field("word", description="A wrong first word, or a whole wrong sentence.")
    systems: str | None = Field(
        None, description="As for eval. Default: members alone, every step, the gate, vote, mbr, lowest-perplexity."
    )

    def systems_of(self, config: Config) -> list[System]:
        return parse_systems(self.systems, config) if self.systems else with_whole_answers(config)

    def check(self, config: Config, task: Task, questions: Sequence[Question], asked: Sequence[Question]) -> None:
        planted(task, questions, self.plant)

    def run(self, ask: Evaluator, asked: Sequence[Question]) -> StudyResult:
        """Put the questions without and with a wrong beginning, which comes from other questions of the file."""
        spoilt = ask.by(planted(ask.task, ask.questions, self.plant), ", wrong beginning")
        config = ask.ensemble.config
        systems = self.systems_of(config)
        found = judge_snowball(ask.task, asked, ask(systems, asked), spoilt(systems, asked))
        for one in found:
            ask.note(one.without.system, one.without.answers)
            spoilt.note(one.planted.system, one.planted.answers)
        title = Phrase("A wrong {plant} planted: {task}", plant=Phrase(self.plant), task=Phrase(ask.task.name))
        return StudyResult(
            study=self.name,
            heading=Phrase(
                "{task}, a wrong {plant} planted: {count} questions",
                task=Phrase(ask.task.name),
                plant=Phrase(self.plant),
                count=len(asked),
            ),
            tables=[table_of(_CELLS, found), _spread(found)],
            data={
                "task": ask.task.name,
                "plant": self.plant,
                "n": len(asked),
                "systems": {one.name: one.to_json() for one in found},
            },
            plots=line_charts(title, _panels(found, colours_of([one.name for one in found], config.member_names))),
            failure=failure(report for one in found for report in (one.without, one.planted)),
        )


def judge_snowball(
    task: Task,
    questions: Sequence[Question],
    without: Mapping[System, Sequence[Graded]],
    planted: Mapping[System, Sequence[Graded]],
) -> list[Recovery]:
    """Evaluate every system's answers without and with plants.

    Args:
        task: without plants.
        without, planted: of the same systems to `questions`, in their order.
    """

    def judged(answers: Sequence[Graded]) -> list[Graded]:
        pairs = zip(questions, answers, strict=True)
        return [replace(one, is_right=not one.error and is_said(task, question, one.text)) for question, one in pairs]

    first, last = (summarise({system: judged(given) for system, given in run.items()}) for run in (without, planted))
    return [Recovery(first[system], last[system]) for system in last]


def is_said(task: Task, question: Question, text: str) -> bool:
    """Whether `text`, written after a prompt or a plant, reaches the right answer; see the module's docstring.

    Example: of "nq", accepted "Paris": " Warsaw? No, Paris." -> True
    """
    if not task.is_of_few_words:
        return is_right(extracted(text, task.extract), question.answers, task.match)
    answer_text = f" {normalised(text, task.match)} "
    return any(f" {normalised(answer, task.match)} " in answer_text for answer in question.answers)


def words_kept(text: str, planted: str) -> list[bool]:
    """For each word of `text`, whether `planted` has it too, in the same order.

    Example: ("Half of 48 is 24.", "Half of 49 is 24.") -> [True, True, False, True, True]
    """
    words = text.split()
    kept = [False] * len(words)
    for start, _, length in SequenceMatcher(None, words, planted.split(), autojunk=False).get_matching_blocks():
        kept[start : start + length] = [True] * length
    return kept


def _spread(found: Sequence[Recovery]) -> Table:
    """The spread of the error."""
    shares = {
        one.name: {
            (kept.first, kept.last): Phrase(
                "{share} of {count}", share=f"{kept.share:.0%}", count=f"{kept.num_words:,}"
            )
            for kept in one.kept
        }
        for one in found
    }
    places = [place for place in PLACES if any(place in by_place for by_place in shares.values())]
    rows = [[name, *(by_place.get(place, NOT_KNOWN) for place in places)] for name, by_place in shares.items()]
    columns = ("system", *(_place(first, last) for first, last in places))
    return Table(columns, rows, "Words of the answer without the plant that are still written with it, by their place")


def _place(first: int, last: int) -> str:
    one = Phrase("word {place}", place=first)
    return one if first == last else Phrase("words {first} to {last}", first=first, last=last)


def _panels(found: Sequence[Recovery], colours: Mapping[str, str]) -> list[Panel]:
    recovered, kept = {}, {}
    for one in found:
        recovered[one.name] = Series([(100 * one.without.accuracy, 100 * one.planted.accuracy)], colours[one.name])
        kept[one.name] = Series([(float(part.first), 100 * part.share) for part in one.kept], colours[one.name])
    furthest = max(line.points[0][0] for line in recovered.values())
    recovered["as often with it as without"] = Series([(0.0, 0.0), (furthest, furthest)], SOFT)
    return [
        Panel("right without, %", "right with it, %", recovered),
        Panel("place in the answer, words", "words kept of the answer without it, %", kept),
    ]
