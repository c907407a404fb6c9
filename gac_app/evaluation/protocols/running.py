"""Runs a study: the development questions, the choice, the held-out questions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from gac_app.config import Config
from gac_app.errors import GacError, RequestError
from gac_app.evaluation.metrics import Comparison, compare, holm
from gac_app.evaluation.protocols.protocol import Part, Protocol, parts_of, refuse_developed
from gac_app.evaluation.running import Graded, StudyProgress, System, SystemReport, members_alone, parse_system
from gac_app.evaluation.studies import Evaluator, check_room
from gac_app.evaluation.tasks import Question, Task, normalised

if TYPE_CHECKING:
    from gac_app.decoding.ensemble import Ensemble


@dataclass(frozen=True, slots=True)
class Scored(SystemReport):
    """A system over some questions. `steps`: forward passes for an answer's steps, over all members."""

    steps: float = 0.0


@dataclass(frozen=True, slots=True)
class Paired:
    """A setting against another system on the held-out questions. `adjusted`: p for all tests together (Holm)."""

    task: str
    setting: Scored
    other: Scored
    comparison: Comparison
    adjusted: float


@dataclass(frozen=True, slots=True)
class TaskResult:
    """A task's answers.

    Attributes:
        timed: to the first held-out questions, one at a time, of the systems in `held_out`.
        best: the member that was best on the development questions.
        sparing, chance: see `StudyRun`.
    """

    part: Part
    development: Mapping[System, Scored]
    held_out: Mapping[System, Scored]
    timed: Mapping[System, Scored]
    chosen: System
    best: System
    sparing: System | None
    chance: System | None


class StudyRun:
    """One study, as its file says.

    The most accurate setting of the grid is chosen for each task. If the protocol asks for a *sparing* setting, one is
    chosen for all tasks together: that with the highest mean accuracy, of those within the share of steps on each task.
    Of equals, the cheapest is chosen. *Chance* is the sparing setting with a gate that calls at random, as often.

    Args:
        path: of its file.
        folder: of cached answers.

    Raises:
        RequestError: the study does not fit its members or questions, or a task holds out what another develops on.
    """

    def __init__(self, path: Path, protocol: Protocol, config: Config, folder: Path) -> None:
        self.path, self.protocol, self.config = path, protocol, config
        self.parts = parts_of(protocol)
        refuse_developed(self.parts)
        self.grid, self.members = protocol.grid(config), members_alone(config)
        self.rivals = [parse_system(name, config) for name in protocol.rivals]
        self._folder = folder
        check_room(config, protocol.parallel)

    def plan_lines(self) -> list[str]:
        """The plan for a terminal: of each task its questions and the answers that they take."""
        return [self._planned(part) for part in self.parts]

    def points_shown(self, part: Part) -> str:
        """The smallest difference that a task's held-out questions show with the power wanted, in points, or "no"."""
        shown = self.protocol.shown_by(len(part.held_out))
        return f"{100 * shown:.1f}" if shown else "no"

    def run(self, ensemble: Ensemble, on_progress: Callable[[str, StudyProgress], None]) -> list[TaskResult]:
        """Ask what has not been answered.

        Raises:
            RequestError: a prompt, or a choice after it, is too long for a member, or no answer can match.
            GacError: an answer failed.
        """
        for part in self.parts:
            for question in part.questions:
                _check_question(ensemble, part.task, question)
        asks = {part.task.name: self._evaluator(ensemble, part) for part in self.parts}
        for name, ask in asks.items():
            ask.on_progress = partial(on_progress, name)
        first = {part.task.name: self._scored(asks[part.task.name], self.grid, part.development) for part in self.parts}
        chosen = {name: _best_of(found, self.grid) for name, found in first.items()}
        sparing = self._sparing(list(first.values()))
        judged = []
        for part in self.parts:
            name = part.task.name
            chance = _by_chance(sparing, first[name]) if sparing else None
            tried = [chosen[name], *(one for one in (sparing, chance) if one)]
            best = _best_of(first[name], self.members)
            found = self._scored(asks[name], tried, part.held_out)
            alone = self._evaluator(ensemble, part, parallel=1)
            alone.on_progress = asks[name].on_progress
            timed = self._scored(alone, tried, part.held_out[: self.protocol.timed])
            judged.append(TaskResult(part, first[name], found, timed, chosen[name], best, sparing, chance))
        return judged

    def tests(self, judged: Sequence[TaskResult]) -> list[Paired]:
        """Of each task: the chosen setting against the best member and the rivals, the sparing one against the best
        member and chance. Corrected for the number of tests."""
        found = []
        for one in judged:
            scored = one.held_out
            pairs = [(one.chosen, other) for other in (one.best, *self.rivals)]
            if one.sparing and one.chance:
                pairs += [(one.sparing, other) for other in (one.best, one.chance)]
            found += [(one.part.task.name, scored[mine], scored[other]) for mine, other in dict.fromkeys(pairs)]
        compared = [compare(mine.is_right, other.is_right) for _, mine, other in found]
        adjusted = holm([comparison.p for comparison in compared])
        return [Paired(*named, c, p) for named, c, p in zip(found, compared, adjusted, strict=True)]

    def _evaluator(self, ensemble: Ensemble, part: Part, parallel: int | None = None) -> Evaluator:
        parallel = parallel or self.protocol.parallel
        return Evaluator(ensemble, part.task, part.questions, self._folder, parallel=parallel)

    def _scored(self, ask: Evaluator, tried: Sequence[System], questions: Sequence[Question]) -> dict[System, Scored]:
        """Members, settings and rivals over these questions."""
        systems = list(dict.fromkeys([*self.members, *tried, *self.rivals]))
        given = ask(list(dict.fromkeys([*systems, *(c for system in systems for c in system.candidates)])), questions)
        found = {
            one: Scored(one, given[one], steps=self._steps(ask.task, one, given) / len(questions)) for one in systems
        }
        for name, failed in [(one.system.name, one.errors) for one in found.values() if one.errors]:
            raise GacError(f"{ask.task.name}, {name}: {len(failed)} answers failed; the first: {failed[0]}")
        return found

    def _steps(self, task: Task, system: System, given: Mapping[System, Sequence[Graded]]) -> int:
        """Forward passes for the steps of a system's answers, over all members; for a choice, of all candidates'."""
        if system.rule:
            return sum(self._steps(task, one, given) for one in system.candidates)
        if task.kind == "choice" and not system.alone:  # each member reads the whole text, whatever the gate says
            names = self.config.asked(system.settings(self.config))
            return sum(self._steps(task, one, given) for one in self.members if one.alone in names)
        others = self._num_asked(system) - 1
        num_tokens = sum(answer.num_tokens for answer in given[system])
        num_asked = num_tokens if _asks_all(system) else sum(answer.num_ensembled for answer in given[system])
        return num_tokens + others * num_asked

    def _num_asked(self, system: System) -> int:
        return 1 if system.alone else len(self.config.asked(system.settings(self.config)))

    def _sparing(self, found: Sequence[Mapping[System, Scored]]) -> System | None:
        """See the class. `found`: each task's systems on the development questions."""
        most = self.protocol.sparing or 0.0
        gated = [one for one in self.grid if most and not _asks_all(one)]
        within = [one for one in gated if all(scored[one].share_ensembled <= most for scored in found)]

        def rank(system: System) -> tuple[Fraction, float]:
            scored = [by_system[system] for by_system in found]
            right = sum((Fraction(score.num_right, len(score.answers)) for score in scored), Fraction())
            return right, -sum(score.steps for score in scored)

        return max(within, key=rank, default=None)

    def _planned(self, part: Part) -> str:
        rivals = [decoded for rival in self.rivals for decoded in rival.candidates or [rival]]
        num_fixed = len({*self.members, *rivals})
        num_judged = 1 + 2 * bool(self.protocol.sparing)  # settings
        num_first, num_held_out = len(part.development), len(part.held_out)
        num_timed = min(self.protocol.timed, num_held_out) if self.protocol.parallel > 1 else 0  # answered once more
        num_answers = num_first * (num_fixed + len(self.grid)) + (num_held_out + num_timed) * (num_fixed + num_judged)
        return (
            f"{part.task.name}: {num_first} development and {num_held_out} held-out questions "
            f"({self.protocol.num_needed:,} needed; {self.points_shown(part)} points can be shown), "
            f"{num_answers:,} answers"
        )


def _check_question(ensemble: Ensemble, task: Task, question: Question) -> None:
    if task.kind == "generation" and not any(normalised(answer, task.match) for answer in question.answers):
        raise RequestError("data", f"{task.name}, {question.id}: no answer can match {question.accepted!r}")
    after = task.continuations(question) if task.kind == "choice" else [""]
    for name, text in product(ensemble.members, after):
        try:
            ensemble.request(task.prompt(question) + text, alone=name, raw=task.is_raw)
        except RequestError as error:
            raise RequestError("data", f"{task.name}, {question.id}: {error}") from None


def _asks_all(system: System) -> bool:
    """Whether all members read every step, however few they decide together."""
    return system.changes.get("mode") == "agreement"


def _by_chance(setting: System, scored: Mapping[System, Scored]) -> System:
    rule = {"mode": "gate", "gate_rule": "random", "gate_params": {}}
    changes = {**setting.changes, **rule, "threshold": round(scored[setting].share_ensembled, 3)}
    return replace(setting, name=f"{setting.name}, by chance", changes=changes)


def _best_of(found: Mapping[System, Scored], among: Sequence[System]) -> System:
    """The most accurate; of equals the cheapest, then the first."""
    return max(among, key=lambda system: (found[system].num_right, -found[system].steps))
