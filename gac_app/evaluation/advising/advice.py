"""Finds which settings suit a user's members, within a time, and tells whether they beat the best member alone.

1. Reference answers of the development half are read under each member and under a grid of settings at every step. The
   likeliest mean is tried behind thresholds, with the best member as the gate. A few settings are left.
2. These and each member alone answer the development half. The most accurate setting and the best member are chosen.
3. Both answer the held-out half, and are compared once: McNemar's exact test and a paired interval.

Whatever the time allows of each half is asked. The verdict is for the setting only if the test is significant.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from gac_app.config import Config
from gac_app.decoding.trace import FinishedEvent
from gac_app.errors import RequestError
from gac_app.evaluation.advising.likelihood import NAMESPACE, Likelihoods
from gac_app.evaluation.metrics import Comparison, compare, effect_shown
from gac_app.evaluation.running import (
    Graded,
    OutOfTimeError,
    System,
    even,
    members_alone,
    parse_system,
    rounded,
    share_ensembled,
    simplex_grid,
    system_at,
)
from gac_app.evaluation.tasks import Question, Task, halves

if TYPE_CHECKING:
    from gac_app.decoding.ensemble import Ensemble


T = TypeVar("T")
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_KEPT = 0.95  # of the gain of every step, by the threshold that is taken
MAX_FINAL = 4  # settings whose answers are compared, at most
LEVEL, POWER, DISCORDANT = 0.05, 0.8, 0.2
# Shares of the time by which a stage is over: of the development half, reads, reads behind gates, and answers; times a
# token; of the held-out half, reads and answers.
_READ_BY, _GATED_BY, _ANSWERED_BY, _TIMED_BY, _PREDICTED_BY, _JUDGED_BY = 0.22, 0.3, 0.6, 0.63, 0.68, 0.95
_AT_ONCE = 4  # questions that are asked together
_TIMED_TOKENS = 24


class Spending:
    """Seconds that run from now on.

    Args:
        clock: monotonic, in seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock, self._began = clock, clock()

    @property
    def spent(self) -> float:
        return self._clock() - self._began

    def is_over(self, share: float) -> bool:
        """Whether this share of the seconds is spent."""
        return self.spent >= share * self.seconds

    def over(self, things: Iterable[T], share: float, *, least: int = 0) -> Iterator[T]:
        """Those of `things` that should be done before this share of the seconds is spent, if each takes at most as
        long as the slowest before it. But at least the first `least`.
        """
        longest = 0.0
        for number, thing in enumerate(things):
            began = self.spent
            if number >= least and began + longest >= share * self.seconds:
                return
            yield thing
            longest = max(longest, self.spent - began)


def alone(config: Config) -> list[System]:
    """Each member alone. Raises RequestError if there is one only."""
    if len(config.member_names) < 2:
        raise RequestError("members", "there is only one, so there is nothing to choose")
    return members_alone(config)


def means(config: Config) -> list[System]:
    """The mean at every step: with equal weights, with those of a grid, and with those that follow the text."""
    num = len(config.member_names)
    steps = 10 if num == 2 else 2 * num if num <= 4 else num + 2
    points = [even(num), *(rounded(point) for point in simplex_grid(num, steps) if all(point))]
    return [
        *(system_at(point, config) for point in dict.fromkeys(points)),
        parse_system("every-step+posterior", config),
    ]


def by_rules(rules: Sequence[str], config: Config) -> list[System]:
    """Other rules at every step, with equal weights. Each takes a read of its own. Raises RequestError."""
    return [parse_system(f"every-step+combine={rule}", config) for rule in dict.fromkeys(rules) if rule != "mean"]


def gated(mean: System, gate: str, config: Config) -> list[System]:
    """A mean behind the gate's thresholds, for which texts need not be read again, or only because of the gate."""
    suffix = "" if gate == config.settings.gate else f"+gate={gate}"
    return [parse_system(mean.name.replace("every-step", f"gate@{at:g}", 1) + suffix, config) for at in THRESHOLDS]


def kept_by_threshold(
    likelihoods: Likelihoods, every_step: System, thresholds: Sequence[System], best: System, asked: Sequence[Question]
) -> System | None:
    """The setting with the fewest steps ensembled that keeps most of what every step saves. None if every step saves
    nothing, or no threshold keeps it.
    """
    most = likelihoods.bits(best, asked)
    wanted = _KEPT * (most - likelihoods.bits(every_step, asked))
    keeping = [system for system in thresholds if most - likelihoods.bits(system, asked) >= wanted > 0]
    return min(keeping, key=lambda system: likelihoods.share_ensembled(system, asked), default=None)


class TimedAsk(Protocol):
    """Gives systems' answers to questions; raises OutOfTimeError soon after `is_over` is true."""

    is_over: Callable[[], bool]

    def __call__(self, systems: Sequence[System], asked: Sequence[Question]) -> Mapping[System, Sequence[Graded]]: ...


@dataclass(frozen=True, slots=True)
class Managed:
    """How many questions there was time for, and the seconds taken. `development`, `held_out`: as many there are."""

    read: int
    answered: int
    judged: int
    development: int
    held_out: int
    seconds: float


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The chosen setting against the best member on the held-out questions.

    Attributes:
        right, best_right: by question.
        share_ensembled: of the chosen setting's steps.
    """

    right: list[bool]
    best_right: list[bool]
    share_ensembled: float

    @property
    def comparison(self) -> Comparison:
        return compare(self.right, self.best_right)

    @property
    def interval(self) -> tuple[float, float]:
        return self.comparison.interval

    @property
    def is_shown(self) -> bool:
        """Whether the setting is better than the member, beyond chance."""
        return self.comparison.delta > 0 and self.comparison.p < LEVEL

    @property
    def effect_shown(self) -> float | None:
        """The smallest difference that so many questions show with a power of 80 %; None if they show none."""
        return effect_shown(len(self.right), POWER, DISCORDANT, LEVEL)


@dataclass(frozen=True, slots=True)
class Advice:
    """The outcome.

    Attributes:
        best, chosen: the best member of the development half, and the setting that was judged against it.
        accuracies: of the development half's answers, by system; empty without the time for one.
        likelihoods, read: what was measured on these questions.
        saved: the share of bits that the chosen setting saves on reference answers of the held-out half, against the
            best member, with its 95 % interval; a sentence if too few were read for one.
        judged: None without the time for one answer of the held-out half.
        times: milliseconds a token, of the chosen setting and each member alone.
        failed: why answers failed.
    """

    best: System
    chosen: System
    accuracies: dict[System, float]
    likelihoods: Likelihoods
    read: list[Question]
    saved: tuple[float, float, float] | str
    judged: HeldOut | None
    times: dict[System, float | None]
    managed: Managed
    failed: list[str]

    @property
    def takes_ensemble(self) -> bool:
        return self.judged is not None and self.judged.is_shown


def advise(
    ensemble: Ensemble,
    task: Task,
    ask: TimedAsk,
    asked: Sequence[Question],
    spending: Spending,
    *,
    rules: Sequence[str] = (),
    on_read: Callable[[], None] = lambda: None,
) -> Advice:
    """Advice from as many of the questions as there is time for.

    Args:
        ask: gives systems' answers.
        rules: combine rules to try beside the mean.
        on_read: called after each question whose reference answer was read.

    Raises:
        RequestError: there is only one member, or there are too few questions.
        GacError: no reference answer can be read.
    """
    config, likelihoods = ensemble.config, Likelihoods(ensemble, task)
    development, held_out = halves(asked)
    members = alone(config)
    read, final = _likely(likelihoods, members, by_rules(rules, config), development, spending, on_read)
    first = _answers(ask, [*members, *final], spending, development, _ANSWERED_BY)
    best, chosen = _best_of(first, members, likelihoods, read), _best_of(first, final, likelihoods, read)
    times = {
        system: _ms_per_token(ensemble, task, development[:2], system)
        for system in spending.over([chosen, *members], _TIMED_BY)
    }
    predicted = likelihoods.measure([best, chosen], spending.over(held_out, _PREDICTED_BY), on_read)
    saved: tuple[float, float, float] | str
    try:
        saved = likelihoods.saved(chosen, best, predicted)
    except RequestError as error:
        saved = error.message
    last = _answers(ask, [best, chosen], spending, held_out, _JUDGED_BY)
    judged = _judged(last[chosen], last[best]) if last[best] else None
    return Advice(
        best,
        chosen,
        {system: _num_right(given) / len(given) for system, given in first.items() if given},
        likelihoods,
        read,
        saved,
        judged,
        times,
        Managed(len(read), len(first[best]), len(last[best]), len(development), len(held_out), spending.spent),
        [one.error for given in (*first.values(), *last.values()) for one in given if one.error],
    )


def _likely(
    likelihoods: Likelihoods,
    members: Sequence[System],
    by_rule: Sequence[System],
    questions: Sequence[Question],
    spending: Spending,
    on_read: Callable[[], None],
) -> tuple[list[Question], list[System]]:
    """The questions that were read, and the settings that are worth an answer: the likeliest mean, also behind a gate,
    that of equal weights, and the likeliest other rule.
    """
    config = likelihoods.config
    mixed = means(config)
    read = likelihoods.measure([*members, *mixed, *by_rule], spending.over(questions, _READ_BY, least=1), on_read)
    best, mean = likelihoods.likeliest(members, read), likelihoods.likeliest(mixed, read)
    thresholds, kept = gated(mean, best.alone or "", config), None
    again = likelihoods.measure(thresholds, spending.over(read, _GATED_BY), on_read)
    if 2 * len(again) > len(read):
        read, kept = again, kept_by_threshold(likelihoods, mean, thresholds, best, again)
    others = [likelihoods.likeliest(by_rule, read)] if by_rule else []
    return read, list(dict.fromkeys([*([kept] if kept else []), mean, mixed[0], *others]))


def _groups(questions: Sequence[Question]) -> Iterator[Sequence[Question]]:
    """Few questions at first, by which the time of others is judged, then several at once."""
    start, size = 0, 1
    while start < len(questions):
        yield questions[start : start + size]
        start, size = start + size, min(_AT_ONCE, max(1, start + size))


def _answers(
    ask: TimedAsk, systems: Sequence[System], spending: Spending, questions: Sequence[Question], share: float
) -> dict[System, list[Graded]]:
    """Each system's answers to the same questions, to as many as there are answers for by that share of the time."""
    found: dict[System, list[Graded]] = {system: [] for system in systems}
    ask.is_over = lambda: spending.is_over(share)
    for group in spending.over(_groups(questions), share):
        try:
            given = ask(systems, group)
        except OutOfTimeError:
            break
        for system in systems:
            found[system] += given[system]
    return found


def _best_of(
    given: Mapping[System, Sequence[Graded]],
    among: Sequence[System],
    likelihoods: Likelihoods,
    read: Sequence[Question],
) -> System:
    """The most accurate; of equals the one that ensembles fewest steps, then the likeliest."""

    def rank(system: System) -> tuple[int, int, float]:
        num_ensembled = sum(answer.num_ensembled for answer in given[system])
        return _num_right(given[system]), -num_ensembled, -likelihoods.bits(system, read)

    return max(among, key=rank)


def _num_right(given: Sequence[Graded]) -> int:
    return sum(answer.is_right for answer in given)


def _judged(given: Sequence[Graded], by_best: Sequence[Graded]) -> HeldOut:
    right, best_right = ([answer.is_right for answer in answers] for answers in (given, by_best))
    return HeldOut(right, best_right, share_ensembled(given))


def _ms_per_token(ensemble: Ensemble, task: Task, questions: Sequence[Question], system: System) -> float | None:
    """Of the tokens after the first, one answer at a time. None if no answer has a second token."""
    settings = system.settings(ensemble.config, temperature=0.0, max_new_tokens=_TIMED_TOKENS, on_member_failure="stop")
    seconds, num_later = 0.0, 0
    for question in questions:
        events = ensemble.generate(
            task.prompt(question), settings, alone=system.alone, raw=task.is_raw, namespace=NAMESPACE
        )
        with closing(events):
            for event in events:
                if isinstance(event, FinishedEvent):
                    seconds, num_later = seconds + event.seconds - event.ttft_s, num_later + event.num_tokens - 1
    return 1000 * seconds / num_later if num_later > 0 else None
