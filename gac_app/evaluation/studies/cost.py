"""What a token of the ensemble costs on this machine, against its slowest member alone.

Every round puts one prompt to all systems, one after the other, so that a machine that is busier at times slows all of
them alike. Ratios are taken within a round.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING

from pydantic import Field

from gac_app.charts import Panel, Series, Spec, line_charts
from gac_app.config import Config
from gac_app.decoding.trace import FinishedEvent, FinishReason
from gac_app.errors import GacError, Phrase
from gac_app.evaluation.running import StudyProgress, System, members_alone
from gac_app.evaluation.studies.result import NOT_KNOWN, StudyResult, Table, figure, member_colour
from gac_app.evaluation.studies.study import EnsembleStudy

if TYPE_CHECKING:
    from gac_app.decoding.ensemble import Ensemble

# Whose answers are long, so that all have equally many tokens. The second repeats itself, as code does.
PROMPTS = (
    "Explain in detail how a steam engine works, step by step.",
    "Write a Python class for a bank account with deposit, withdraw and a history, and tests of each method.",
    "Write a long story about a lighthouse keeper who finds a message in a bottle.",
)
MIN_TOKENS = 8  # an answer with fewer is too short to time
_MIN_ROUNDS, _MAX_ROUNDS = 2, 9
_STEP, _GATED, _UNDRAFTED = "every step", "gate", "every step, no drafts"  # systems
_EVERY_STEP, _GATE = "every step ÷ slowest member alone", "gate ÷ slowest member alone"
_DRAFTS, _SIDE_BY_SIDE = "drafts ÷ no drafts, every step", "side by side ÷ ensemble alone"


@dataclass(frozen=True, slots=True)
class Timed:
    """One answer. `ms`: per token, without the first."""

    ms: float
    first_token_s: float
    member_s: float  # per token, of forward passes, summed over the members
    share_ensembled: float
    seconds: float
    is_full: bool  # it did not end before its limit


@dataclass(frozen=True, slots=True)
class Round:
    """One prompt's answers, by the systems' names. `side_by_side_s`: of the ensemble and all members at once."""

    answers: Mapping[str, Timed]
    side_by_side_s: float | None  # None: some answer ended early, so that they were not equally long


def _systems(ensemble: Ensemble) -> list[System]:
    """Each member alone, then every step, the gate, and every step without drafts."""
    settings = ensemble.config.settings
    gate = {"mode": "gate", "threshold": settings.threshold}
    if settings.gate_policy == "auto":  # a study yields to visitors, so it would be lazy here
        gate["gate_policy"] = "eager" if ensemble.devices_disjoint else "lazy"
    return [
        *members_alone(ensemble.config),
        System(_STEP, changes={"mode": "every-step"}),
        System(_GATED, changes=gate),
        System(_UNDRAFTED, changes={"mode": "every-step", "speculation": "off"}),
    ]


class Cost(EnsembleStudy):
    """Measure on this machine what a token of the ensemble costs: against its slowest member alone, with and without
    drafts, and with all answers side by side.
    """

    name = "cost"
    title = "What does ensembling cost here?"
    about = "How long a token takes on this machine, against the slowest member alone; about two minutes."
    place = 8
    seconds: float = Field(100.0, gt=0, description="No round begins after so many seconds; two are made at least.")
    tokens: int = Field(48, ge=16, le=1024, description="Of each answer.")

    def run(self, ensemble: Ensemble, on_progress: Callable[[StudyProgress], None] = lambda _: None) -> StudyResult:
        """Raises ConfigError if there is only one member, GacError if no answer is long enough to time."""
        self.check(ensemble.config)
        systems = _systems(ensemble)
        rounds = self._rounds(ensemble, systems, on_progress)
        alone = [system for system in systems if system.alone]
        slowest = max(alone, key=lambda one: median(found.answers[one.name].ms for found in rounds))
        ratios = _ratios(rounds, slowest.name)
        return StudyResult(
            study=self.name,
            heading=Phrase("{count} rounds, {tokens} tokens each", count=len(rounds), tokens=self.tokens),
            tables=[_compared(ratios), _figures(rounds, systems)],
            data={"slowest": slowest.alone, "rounds": [asdict(found) for found in rounds], "ratios": ratios},
            remarks=_verdict(ratios, slowest.alone or ""),
            plots=_plots(ratios, slowest, self.tokens, ensemble.config),
        )

    def _rounds(
        self, ensemble: Ensemble, systems: list[System], on_progress: Callable[[StudyProgress], None]
    ) -> list[Round]:
        """As many as there is time for, after a warm-up."""
        for system in systems:
            self._answered(ensemble, system, PROMPTS[0], MIN_TOKENS)
        started, rounds, num_done = time.monotonic(), list[Round](), 0

        def answered(system: System, prompt: str) -> Timed:
            nonlocal num_done
            found = self._answered(ensemble, system, prompt, self.tokens)
            num_done += 1
            on_progress(self._progress(num_done, len(systems), time.monotonic() - started))
            return found

        for number in range(_MAX_ROUNDS):
            if number >= _MIN_ROUNDS and time.monotonic() - started > self.seconds:
                break
            prompt = PROMPTS[number % len(PROMPTS)]
            answers = {system.name: answered(system, prompt) for system in systems}
            if all(answer.ms for answer in answers.values()):
                rounds.append(Round(answers, self._side_by_side(ensemble, systems, prompt)))
        if not rounds:
            raise GacError(f"some answer to each prompt ended within {MIN_TOKENS} tokens, too few to time")
        return rounds

    def _progress(self, num_done: int, in_round: int, spent: float) -> StudyProgress:
        """After so many answers and seconds. How many there will be is estimated: rounds begin for `seconds`."""
        rounds = math.ceil(num_done / in_round * self.seconds / spent) if spent else _MAX_ROUNDS
        return StudyProgress(num_done, max(num_done, in_round * min(max(rounds, _MIN_ROUNDS), _MAX_ROUNDS)), 0, spent)

    def _side_by_side(self, ensemble: Ensemble, systems: Sequence[System], prompt: str) -> float | None:
        """Seconds until the ensemble and every member alone have answered, all at once."""
        at_once = [system for system in systems if system.alone or system.name == _STEP]
        started = time.monotonic()
        with ThreadPoolExecutor(len(at_once)) as pool:
            answers = pool.map(lambda system: self._answered(ensemble, system, prompt, self.tokens), at_once)
            is_full = all(answer.is_full for answer in answers)
        return time.monotonic() - started if is_full else None

    def _answered(self, ensemble: Ensemble, system: System, prompt: str, num_tokens: int) -> Timed:
        """One greedy answer. Raises GacError if a member fails."""
        settings = system.settings(ensemble.config, temperature=0.0, stop=(), max_new_tokens=num_tokens)
        *_, end = ensemble.generate(prompt, settings, alone=system.alone)
        assert isinstance(end, FinishedEvent)  # noqa: S101 (every session ends with it)
        if end.reason not in (FinishReason.LENGTH, FinishReason.STOP):
            raise GacError(end.detail or "an answer was stopped")
        is_timed = end.num_tokens >= MIN_TOKENS and end.tokens_per_s > 0
        return Timed(
            ms=1000 / end.tokens_per_s if is_timed else 0.0,
            first_token_s=end.ttft_s,
            member_s=sum(usage.seconds for usage in end.members.values()) / end.num_tokens,
            share_ensembled=end.num_ensembled / end.num_tokens,
            seconds=end.seconds,
            is_full=end.reason is FinishReason.LENGTH,
        )


def _ratios(rounds: Sequence[Round], slowest: str) -> dict[str, list[float]]:
    """By what is compared: a ratio per round."""
    pairs = {_EVERY_STEP: (_STEP, slowest), _GATE: (_GATED, slowest), _DRAFTS: (_STEP, _UNDRAFTED)}
    ratios = {
        name: [found.answers[one].ms / found.answers[other].ms for found in rounds]
        for name, (one, other) in pairs.items()
    }
    whole = [(found.side_by_side_s, found.answers[_STEP]) for found in rounds]
    return ratios | {_SIDE_BY_SIDE: [seconds / alone.seconds for seconds, alone in whole if seconds and alone.is_full]}


def _compared(ratios: Mapping[str, Sequence[float]]) -> Table:
    measures = (median, min, max)
    rows = [[name, *(figure(of(found) if found else None, 2) for of in measures)] for name, found in ratios.items()]
    return Table(("compared", "median", "least", "most"), rows, "Time, one against the other")


def _figures(rounds: Sequence[Round], systems: Sequence[System]) -> Table:
    """Medians of each system."""
    rows = []
    for system in systems:
        timed = [found.answers[system.name] for found in rounds]
        ms, first_s = median(one.ms for one in timed), median(one.first_token_s for one in timed)
        member_ms = median(1000 * one.member_s for one in timed)
        share = NOT_KNOWN if system.alone else f"{median(one.share_ensembled for one in timed):.1%}"
        rows.append([system.name, figure(ms, 1), figure(first_s, 2), figure(member_ms, 1), share])
    columns = ("system", "ms/token", "first token, s", "computing time, ms/token", "ensembled")
    return Table(columns, rows, "Medians of the rounds")


def _verdict(ratios: Mapping[str, Sequence[float]], slowest: str) -> list[str]:
    every, gate = (median(ratios[name]) for name in (_EVERY_STEP, _GATE))
    how = "faster than" if every < 0.95 else "slower than" if every > 1.05 else "about as fast as"
    return [
        Phrase(
            "Here the ensemble is {how} its slowest member, {name}: a token takes {every} times as long at every step, "
            "and {gate} times with the gate.",
            how=Phrase(how),
            name=slowest,
            every=f"{every:.2f}",
            gate=f"{gate:.2f}",
        )
    ]


def _plots(ratios: Mapping[str, Sequence[float]], slowest: System, tokens: int, config: Config) -> list[Spec]:
    """The ratios of each round, so that their spread is seen."""
    ends = [float(tokens * number) for number in range(1, len(ratios[_EVERY_STEP]) + 1)]
    colour = member_colour(slowest.alone or "", config.member_names)
    series = {slowest.name: Series([(end, 1.0) for end in ends], colour)}
    for name, label in ((_EVERY_STEP, _STEP), (_GATE, _GATED)):
        series[label] = Series(list(zip(ends, ratios[name], strict=True)))
    return line_charts(
        "Time per token, slowest member alone = 1", [Panel("tokens of each so far", "times as long", series)]
    )
