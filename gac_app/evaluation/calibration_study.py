"""The calibration of several systems on one task: overall, by domain, and after temperature scaling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from gac_app.config import Config, Settings
from gac_app.errors import RequestError
from gac_app.evaluation.calibration import Calibration, ScoredChoices, calibration_of
from gac_app.evaluation.calibration_temperature import TemperatureScaling, scale_temperature
from gac_app.evaluation.questions import Question
from gac_app.evaluation.systems import System
from gac_app.evaluation.tasks import Task

MIN_QUESTIONS = 2  # one to fit a temperature on, one to check it on
_MAX_IN_FLIGHT = 4  # questions at once: they share the members' forward passes
_SEQUENCES_EACH = 2  # in every member: the prompt's and one for a choice


class HasLogProb(Protocol):
    """What is needed of a continuation's score."""

    @property
    def log_prob(self) -> float:
        """In nats."""


class Scorer(Protocol):
    """What is needed of an ensemble."""

    config: Config

    def score(
        self,
        prompt: str,
        continuations: Sequence[str],
        settings: Settings | None = None,
        *,
        alone: str | None = None,
        raw: bool = False,
    ) -> Sequence[HasLogProb]:
        """The continuations' log-probabilities behind the prompt."""


@dataclass(frozen=True, slots=True)
class SystemCalibration:
    """One system: on all questions, on those of each domain, and what temperature scaling does."""

    overall: Calibration
    domains: dict[str, Calibration]
    scaling: TemperatureScaling


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """One task, by system name."""

    task: str
    num_questions: int
    systems: dict[str, SystemCalibration]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        systems = {}
        for name, system in self.systems.items():
            facts = asdict(system)
            systems[name] = {**facts.pop("overall"), **facts}
        return {"task": self.task, "n": self.num_questions, "systems": systems}


def calibrate_systems(
    scorer: Scorer,
    task: Task,
    questions: Sequence[Question],
    systems: Sequence[System],
    on_scored: Callable[[], None] = lambda: None,
) -> CalibrationReport:
    """Let every system score the choices of every question.

    Args:
        task: of kind `choice`.
        questions: two or more of that task.
        on_scored: called after each question of each system.

    Raises:
        RequestError: where task or questions do not fit.
        MemberError: where a member fails; a question left out would change the figures.
    """
    if task.kind != "choice":
        raise RequestError("task", f"{task.name} has no choices to be sure of; expected a task of multiple choice")
    task.check(questions)
    if len(questions) < MIN_QUESTIONS:
        raise RequestError("data", f"holds {len(questions)} questions; expected {MIN_QUESTIONS} or more")
    found = {}
    for system in systems:
        found[system.name] = _calibrate(_score(scorer, task, questions, system, on_scored))
    return CalibrationReport(task.name, len(questions), found)


def _calibrate(scored: Sequence[ScoredChoices]) -> SystemCalibration:
    domains: dict[str, list[ScoredChoices]] = {}
    for question in scored:
        if question.domain:
            domains.setdefault(question.domain, []).append(question)
    return SystemCalibration(
        overall=calibration_of(scored),
        domains={name: calibration_of(domains[name]) for name in sorted(domains)},
        scaling=scale_temperature(scored),
    )


def _score(
    scorer: Scorer, task: Task, questions: Sequence[Question], system: System, on_scored: Callable[[], None]
) -> list[ScoredChoices]:
    """In the questions' order, several at once."""
    settings = system.settings(scorer.config)
    room = min(member.max_sequences for member in scorer.config.members) // _SEQUENCES_EACH

    def score(question: Question) -> ScoredChoices:
        scores = scorer.score(
            task.prompt(question), task.continuations(question), settings, alone=system.alone, raw=True
        )
        on_scored()
        return ScoredChoices(tuple(score.log_prob for score in scores), question.answer, question.domain)

    with ThreadPoolExecutor(min(_MAX_IN_FLIGHT, room), thread_name_prefix="calibrate") as pool:
        try:
            return list(pool.map(score, questions))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
