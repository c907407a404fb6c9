"""Finds which settings suit a user's members, within a time, and tells whether they beat the best member alone.

1. Reference answers of the development half are read under each member and under a grid of settings at every step. The
   likeliest mean is tried behind thresholds, with the best member as the gate. A few settings are left.
2. These and each member alone answer the development half. The most accurate setting and the best member are chosen.
3. Both answer the held-out half, and are compared once: McNemar's exact test and a paired interval. So does the best
   member behind a smaller one as the gate, which is cheaper.

Whatever the time allows of each half is asked. The verdict is for the setting only if the test is significant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, pairwise

from gac_app.config import Config
from gac_app.decoding.trace import FinishedEvent
from gac_app.errors import RequestError
from gac_app.evaluation.running import (
    Graded,
    Likelihoods,
    OutOfTimeError,
    Spending,
    StudyProgress,
    System,
    SystemReport,
    members_alone,
    parse_system,
)
from gac_app.evaluation.studies.advising.outcome import Advice, HeldOut, Managed
from gac_app.evaluation.studies.evaluator import Evaluator
from gac_app.evaluation.tasks import Question, halves

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_KEPT = 0.95  # of the gain of every step, by the threshold that is taken
MAX_FINAL = 4  # settings whose answers are compared, at most
# Shares of the time by which a stage is over: of the development half, reads, reads behind gates, answers, and reads
# behind a smaller gate; times a token; of the held-out half, reads and answers.
_READ_BY, _GATED_BY, _ANSWERED_BY, _CHEAPER_BY = 0.22, 0.3, 0.6, 0.62
_TIMED_BY, _PREDICTED_BY, _JUDGED_BY = 0.65, 0.69, 0.95
_AT_ONCE = 4  # questions that are asked together
_TIMED_TOKENS = 24


def alone(config: Config) -> list[System]:
    """Each member alone. Raises RequestError if there is one only."""
    if len(config.member_names) < 2:
        raise RequestError("members", "there is only one, so there is nothing to choose")
    return members_alone(config)


def means(config: Config) -> list[System]:
    """The mean at every step: with equal weights, with those of a grid, and with those that follow the text."""
    num = len(config.member_names)
    steps = 10 if num == 2 else 2 * num if num <= 4 else num + 2
    even = (round(1 / num, 2),) * num
    points = [tuple(round(weight, 2) for weight in point) for point in simplex_grid(num, steps) if all(point)]
    equal = "" if config.settings.weights == "average" else "+average"  # the shorter name, as `eval` would use it
    return [
        parse_system(f"every-step{equal}{by_mean(config)}", config),
        *(
            parse_system(f"every-step+w={':'.join(f'{weight:g}' for weight in point)}{by_mean(config)}", config)
            for point in dict.fromkeys(points)
            if point != even
        ),
        parse_system("every-step+posterior" + by_mean(config), config),
    ]


def simplex_grid(num_weights: int, resolution: int) -> Iterator[tuple[float, ...]]:
    """All points whose weights are multiples of 1 / resolution.

    Example: (2, 2) -> (0.0, 1.0), (0.5, 0.5), (1.0, 0.0)
    """
    last = resolution + num_weights - 1
    for bars in combinations(range(last), num_weights - 1):  # among `resolution` stars in a row
        yield tuple((bar - before - 1) / resolution for before, bar in pairwise((-1, *bars, last)))


def by_mean(config: Config) -> str:
    """The end of a mean's name, which tells what differs from the configuration."""
    return "" if config.settings.combine == "mean" else "+combine=mean"


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


class Adviser:
    """Finds advice from as many of the questions as there is time for. Tells the progress of the whole, although its
    stages ask again and again.

    Args:
        rules: combine rules to try beside the mean.

    Raises:
        RequestError: there is only one member, or there are too few questions.
    """

    def __init__(
        self, ask: Evaluator, asked: Sequence[Question], spending: Spending, rules: Sequence[str] = ()
    ) -> None:
        self._ask, self._spending, self._config = ask, spending, ask.ensemble.config
        self._members, others = alone(self._config), [rule for rule in dict.fromkeys(rules) if rule != "mean"]
        self._by_rule = [parse_system(f"every-step+combine={rule}", self._config) for rule in others]  # a read for each
        self._development, self._held_out = halves(asked)
        self._likelihoods = Likelihoods(ask.ensemble, ask.task)
        self._tell, ask.on_progress = ask.on_progress, self._answered
        # Three reads and answers to the development half, a read and three answers to the other, if there is time.
        of_first = 3 + len(self._members) + MAX_FINAL
        self._num_total = len(self._development) * of_first + len(self._held_out) * 4
        self._num_done = 0

    def advise(self) -> Advice:
        """Raises GacError if no reference answer can be read."""
        likelihoods, spending, members = self._likelihoods, self._spending, self._members
        read, final = self._likely()
        first = self._answers([*members, *final], self._development, _ANSWERED_BY)
        best, chosen = (self._best_of(first, among, read) for among in (members, final))
        cheaper = self._cheaper(best, read)
        timed = dict.fromkeys([best, *cheaper, chosen, *members])
        times = {system: self._ms_per_token(system, read[:2]) for system in spending.over(timed, _TIMED_BY)}
        predicted = likelihoods.measure([best, chosen], spending.over(self._held_out, _PREDICTED_BY), self._read)
        saved: tuple[float, float, float] | str
        try:
            saved = likelihoods.saved(chosen, best, predicted)
        except RequestError as error:
            saved = error.message
        last = self._answers([best, chosen, *cheaper], self._held_out, _JUDGED_BY)
        num_read, num_answered, num_judged = len(read), len(first[best].answers), len(last[best].answers)
        of_halves = len(self._development), len(self._held_out)
        return Advice(
            best,
            chosen,
            {system: report.accuracy for system, report in first.items() if report.answers},
            likelihoods,
            read,
            saved,
            HeldOut(last[chosen], last[best]) if num_judged else None,
            HeldOut(last[cheaper[0]], last[best]) if num_judged and cheaper else None,
            times,
            Managed(num_read, num_answered, num_judged, *of_halves, spending.spent),
            [*first.values(), *last.values()],
        )

    def _likely(self) -> tuple[list[Question], list[System]]:
        """The questions that were read, and the settings that are worth an answer: the likeliest mean, also behind a
        gate, that of equal weights, and the likeliest other rule.
        """
        likelihoods, members, by_rule, mixed = self._likelihoods, self._members, self._by_rule, means(self._config)
        to_read = self._spending.over(self._development, _READ_BY, least=1)
        read = likelihoods.measure([*members, *mixed, *by_rule], to_read, self._read)
        best, mean = likelihoods.likeliest(members, read), likelihoods.likeliest(mixed, read)
        thresholds, kept = gated(mean, best.alone or "", self._config), None
        again = likelihoods.measure(thresholds, self._spending.over(read, _GATED_BY), self._read)
        if 2 * len(again) > len(read):
            read, kept = again, kept_by_threshold(likelihoods, mean, thresholds, best, again)
        others = [likelihoods.likeliest(by_rule, read)] if by_rule else []
        return read, list(dict.fromkeys([*([kept] if kept else []), mean, mixed[0], *others]))

    def _cheaper(self, best: System, read: Sequence[Question]) -> list[System]:
        """The best member behind the smallest as the gate, with the fewest calls that keep most of what the best saves.
        Nothing if the smallest is the best, sizes are not known, or there is no time.
        """
        sizes = [member.num_params or 0 for member in self._config.members]
        smallest = self._members[sizes.index(min(sizes))]
        if smallest == best or not min(sizes):
            return []
        weights = ":".join(str(int(member == best)) for member in self._members)
        rest = f"+gate={smallest.alone}+w={weights}{by_mean(self._config)}"
        tried = [parse_system(f"gate@{at:g}{rest}", self._config) for at in THRESHOLDS]
        again = self._likelihoods.measure(tried, self._spending.over(read, _CHEAPER_BY), self._read)
        kept = kept_by_threshold(self._likelihoods, best, tried, smallest, again) if again else None
        return [kept] if kept else []

    def _answers(
        self, systems: Sequence[System], questions: Sequence[Question], share: float
    ) -> dict[System, SystemReport]:
        """Each system's answers to the same questions, to as many as there is time for by that share of it."""
        found: dict[System, list[Graded]] = {system: [] for system in systems}
        self._ask.is_over = lambda: self._spending.is_over(share)
        for group in self._spending.over(_groups(questions), share):
            try:
                given = self._ask(systems, group)
            except OutOfTimeError:
                break
            for system in systems:
                found[system] += given[system]
        return {system: SystemReport(system, given) for system, given in found.items()}

    def _best_of(
        self, found: Mapping[System, SystemReport], among: Sequence[System], read: Sequence[Question]
    ) -> System:
        """The most accurate; of equals the one that ensembles fewest steps, then the likeliest."""

        def rank(system: System) -> tuple[int, int, float]:
            num_ensembled = sum(answer.num_ensembled for answer in found[system].answers)
            return found[system].num_right, -num_ensembled, -self._likelihoods.bits(system, read)

        return max(among, key=rank)

    def _ms_per_token(self, system: System, questions: Sequence[Question]) -> float | None:
        """Of the tokens after the first, one answer at a time. None if no answer has a second token."""
        ensemble, task = self._ask.ensemble, self._ask.task
        settings = system.settings(self._config, temperature=0.0, max_new_tokens=_TIMED_TOKENS)
        seconds, num_later = 0.0, 0
        for question in questions:
            prompt = task.prompt(question)
            *_, end = ensemble.generate(
                prompt, settings, alone=system.alone, raw=task.is_raw, namespace=Likelihoods.namespace
            )
            assert isinstance(end, FinishedEvent)  # noqa: S101 (every session ends with it)
            seconds, num_later = seconds + end.seconds - end.ttft_s, num_later + end.num_tokens - 1
        return 1000 * seconds / num_later if num_later > 0 else None

    # --- its progress

    def _read(self) -> None:
        """A question's reference answer was read."""
        self._num_done += 1
        self._report(0, 0)

    def _answered(self, progress: StudyProgress) -> None:
        """An answer of a group came."""
        self._report(progress.num_done, progress.num_failed)
        if progress.num_done == progress.num_total:
            self._num_done += progress.num_total

    def _report(self, num_more: int, num_failed: int) -> None:
        done, spent = self._num_done + num_more, self._spending.spent
        in_time = done * self._spending.seconds / spent if spent else self._num_total
        self._tell(StudyProgress(done, max(min(self._num_total, round(in_time)), done), 0, spent, num_failed))


def _groups(questions: Sequence[Question]) -> Iterator[Sequence[Question]]:
    """Few questions at first, by which the time of others is judged, then several at once."""
    start, size = 0, 1
    while start < len(questions):
        yield questions[start : start + size]
        start, size = start + size, min(_AT_ONCE, max(1, start + size))
