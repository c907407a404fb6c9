"""Whether a wrong beginning snowballs: how often a system still reaches the right answer (paper, introduction).

Every system answers twice, greedily: from the prompt, and from the prompt and a wrong beginning (see below), the
same for all. That beginning stands for an early error. Ensembles of whole answers choose among answers that all begin
with it. Both answers are judged by the text after the prompt or the plant: if answers are a few words, by whether it
contains an accepted answer; otherwise by the task's own rule. A system *recovers* if it was right without the plant and
is right with it. The *spread* of the error is the share of the words written without the plant that are kept with it,
by their place: an error that is soon corrected leaves the later words unchanged.

Plants wrong beginnings of answers, to see which systems recover.

`word`       the first word of another question's solution or answer; not a token, since members cut differently
`sentence`   a whole wrong beginning that leaves room for the right answer:
             of a question with a worked solution, its first sentence with the result one too large
             ("Half of 48 is 48 / 2 = 25 clips."); of a task whose answers are a few words, another question's answer
             and ", or rather"; of other tasks, another question's answer as the worked examples have it
             ("So the answer is True.")

"Another question" is the next one in the file whose answer is short and wrong here: it shares no word with an accepted
answer and does not begin with an article, which may begin any answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

from pydantic import Field

from gac_app.charts import SOFT, Panel, Series, line_charts
from gac_app.config import Config
from gac_app.errors import RequestError
from gac_app.evaluation.metrics import Comparison, compare, wilson_interval
from gac_app.evaluation.running import Graded, System, parse_systems, with_whole_answers
from gac_app.evaluation.studies.evaluator import Evaluator
from gac_app.evaluation.studies.result import NOT_KNOWN, StudyResult, Table, colours_of, compared, share
from gac_app.evaluation.studies.study import QuestionStudy
from gac_app.evaluation.tasks import Question, Task, extracted, is_right, normalised

Plant = Literal["word", "sentence"]

# Places of words in an answer, from 1; from first to last.
PLACES = ((1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (17, 32), (33, 64))
_COLUMNS = ("system", "right without", "right with it (95 %)", "recovered (95 %)", "vs best member")
_RESULT = re.compile(r"(?<==)\s*\$?(\d+)(?![\d,.]*\d)")  # "= 24": a whole number after an equals sign
_NUMBER = re.compile(r"(?<![\d.,])(\d+)(?![\d,.]*\d)")
_ARTICLES = ("a", "an", "the")
_MAX_WORDS = 6  # of a planted answer


@dataclass(frozen=True, slots=True)
class Kept:
    """The share of the words at these places, written without the plant, that the system still writes with it."""

    first: int
    last: int
    num_words: int
    share: float


@dataclass(frozen=True, slots=True)
class Recovery:
    """One system. Failed answers count as wrong; `num_failed` counts those of both runs.

    Attributes:
        num_recovered: right with the plant, of those `num_right_without` it.
        num_right_planted: right with the plant, of all.
        vs_best_member: over all questions with the plant; the best member is the one most often right there.
        kept: the spread of the error, by place, up to the longest answer.
    """

    system: System
    num_questions: int
    num_right_without: int
    num_right_planted: int
    num_recovered: int
    num_failed: int
    vs_best_member: Comparison | None
    kept: tuple[Kept, ...]

    @property
    def share_recovered(self) -> float | None:
        """None if it was never right without the plant."""
        return self.num_recovered / self.num_right_without if self.num_right_without else None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        right = self.num_right_without
        return {
            "accuracy_without": right / self.num_questions,
            "accuracy_planted": self.num_right_planted / self.num_questions,
            "ci_planted": list(wilson_interval(self.num_right_planted, self.num_questions)),
            "num_right_without": right,
            "num_recovered": self.num_recovered,
            "share_recovered": self.share_recovered,
            "ci_recovered": list(wilson_interval(self.num_recovered, right)) if right else None,
            "errors": self.num_failed,
            "vs_best_member": asdict(self.vs_best_member) if self.vs_best_member else None,
            "kept_by_place": [asdict(kept) for kept in self.kept],
        }


class Snowball(QuestionStudy):
    """Plant a wrong beginning in each answer, and measure how often each system still answers right."""

    name = "snowball"
    title = "Snowball"
    about = "Who recovers from a wrong beginning of the answer."
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
        spoilt = planted(ask.task, ask.questions, self.plant)
        config = ask.ensemble.config
        systems = self.systems_of(config)
        without, with_plants = ask(systems, asked), ask.by(spoilt, ", wrong beginning")(systems, asked)
        found = judge_snowball(ask.task, asked, without, with_plants)
        colours = colours_of([system.name for system in systems], config.member_names)
        title = f"A wrong {self.plant} planted: {ask.task.name}, {len(asked)} questions"
        given = (answer for answers in (*without.values(), *with_plants.values()) for answer in answers)
        errors = [answer.error for answer in given if answer.error]
        return StudyResult(
            study=self.name,
            heading=f"{ask.task.name}, a wrong {self.plant} planted: {len(asked)} questions",
            tables=[Table(_COLUMNS, _rows(found)), _spread(found)],
            data={
                "task": ask.task.name,
                "plant": self.plant,
                "n": len(asked),
                "systems": {one.system.name: one.to_json() for one in found},
            },
            plots=line_charts(title, [_recovered(found, colours), _kept_words(found, colours)]),
            failure=f"answers failed and count as wrong; the first: {errors[0]}" if errors else "",
        )


# --- the wrong beginnings


class PlantedTask(Task):
    """A task whose prompts end in the wrong beginning of an answer, by question id."""

    plants: dict[str, str]

    def prompt(self, question: Question) -> str:
        return super().prompt(question) + self.plants[question.id]


def planted(task: Task, questions: Sequence[Question], kind: Plant) -> PlantedTask:
    """The task with wrong beginnings for `questions`, all of a file.

    Raises:
        RequestError: the task's answers are not written after a document, or no wrong beginning can be found.
    """
    if task.kind != "generation" or not task.is_raw:
        expected = "expected a task whose answers are written after a document"
        raise RequestError("task", f"{task.name} has no answers to be begun; {expected}")
    plants = {question.id: _plant(task, questions, index, kind) for index, question in enumerate(questions)}
    return PlantedTask.model_validate({**task.model_dump(), "plants": plants})


def _plant(task: Task, questions: Sequence[Question], index: int, kind: Plant) -> str:
    question = questions[index]
    if kind == "sentence":
        spoilt = spoilt_sentence(question.solution)
        if spoilt:
            return f" {spoilt}"
    other = _wrong_for(question, [*questions[index + 1 :], *questions[:index]])
    answer = other.answers[0].strip()
    if kind == "word":
        return f" {(other.solution or answer).split()[0]}"
    return f" {answer}, or rather" if task.is_of_few_words else task.worked.format(answer=answer)


def spoilt_sentence(solution: str) -> str:
    """The first sentence with its result, or else its last number, one too large; "" if it has no whole number.

    Example: "Half of 48 is 48 / 2 = 24 clips. In all ..." -> "Half of 48 is 48 / 2 = 25 clips."
    """
    sentence = re.split(r"(?<=[.!?])\s+|\n", solution.strip(), maxsplit=1)[0]
    found = [*_RESULT.finditer(sentence)] or [*_NUMBER.finditer(sentence)][-1:]
    if not found:
        return ""
    start, end = found[0].span(1)
    return f"{sentence[:start]}{int(found[0][1]) + 1}{sentence[end:]}"


def _wrong_for(question: Question, others: Sequence[Question]) -> Question:
    """The first of `others` that shares neither a word with an accepted answer nor the beginning of the solution."""
    right = {word for text in question.answers for word in _words(text)} | set(_words(question.solution)[:1])
    for other in others:
        begun = (other.solution or other.answers[0]).split()
        is_short = 0 < len(other.answers[0].split()) <= _MAX_WORDS and begun[0].lower() not in _ARTICLES
        if is_short and right.isdisjoint([*_words(other.answers[0]), *_words(begun[0])]):
            return other
    raise RequestError("data", f"{question.id}: no other question has an answer that is wrong for it")


def _words(text: str) -> list[str]:
    return normalised(text, "words").split()


# --- what comes of them


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
    right_without = {system: _judged(task, questions, given) for system, given in without.items()}
    right_planted = {system: _judged(task, questions, given) for system, given in planted.items()}
    members = [system for system in planted if system.alone is not None]
    best = max(members, key=lambda system: sum(right_planted[system]), default=None)
    return [
        Recovery(
            system=system,
            num_questions=len(questions),
            num_right_without=sum(right_without[system]),
            num_right_planted=sum(right),
            num_recovered=sum(a and b for a, b in zip(right_without[system], right, strict=True)),
            num_failed=sum(bool(answer.error) for answer in (*without[system], *planted[system])),
            vs_best_member=compare(right, right_planted[best]) if best and best != system else None,
            kept=_kept(without[system], planted[system]),
        )
        for system, right in right_planted.items()
    ]


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


def _kept(without: Sequence[Graded], planted: Sequence[Graded]) -> tuple[Kept, ...]:
    pairs = [(a.text, b.text) for a, b in zip(without, planted, strict=True) if not (a.error or b.error)]
    answers = [words_kept(text, planted_text) for text, planted_text in pairs]
    found = ((first, last, [kept for words in answers for kept in words[first - 1 : last]]) for first, last in PLACES)
    return tuple(Kept(first, last, len(words), sum(words) / len(words)) for first, last, words in found if words)


def _judged(task: Task, questions: Sequence[Question], answers: Sequence[Graded]) -> list[bool]:
    return [
        not answer.error and is_said(task, question, answer.text)
        for question, answer in zip(questions, answers, strict=True)
    ]


def _rows(found: Sequence[Recovery]) -> list[list[str]]:
    return [
        [
            one.system.name,
            f"{one.num_right_without / one.num_questions:.1%}",
            share(one.num_right_planted, one.num_questions),
            share(one.num_recovered, one.num_right_without),
            compared(one.vs_best_member),
        ]
        for one in found
    ]


def _spread(found: Sequence[Recovery]) -> Table:
    """The spread of the error."""
    places = sorted({(kept.first, kept.last) for one in found for kept in one.kept})
    rows = []
    for one in found:
        shares = {(kept.first, kept.last): f"{kept.share:.0%} of {kept.num_words:,}" for kept in one.kept}
        rows.append([one.system.name, *(shares.get(place, NOT_KNOWN) for place in places)])
    columns = ("system", *(f"word {first}" if first == last else f"words {first} to {last}" for first, last in places))
    return Table(columns, rows, "Words of the answer without the plant that are still written with it, by their place")


def _recovered(found: Sequence[Recovery], colours: Mapping[str, str]) -> Panel:
    series = {}
    for one in found:
        without, with_it = (100 * num / one.num_questions for num in (one.num_right_without, one.num_right_planted))
        series[one.system.name] = Series([(without, with_it)], colours[one.system.name])
    furthest = max(line.points[0][0] for line in series.values())
    series["as often with it as without"] = Series([(0.0, 0.0), (furthest, furthest)], SOFT)
    return Panel("right without, %", "right with it, %", series)


def _kept_words(found: Sequence[Recovery], colours: Mapping[str, str]) -> Panel:
    series = {
        one.system.name: Series([(float(kept.first), 100 * kept.share) for kept in one.kept], colours[one.system.name])
        for one in found
    }
    return Panel("place in the answer, words", "words kept of the answer without it, %", series)
