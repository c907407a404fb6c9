"""What advice comes to: the setting that was judged, the cheaper one, and which of them is taken."""

from __future__ import annotations

from dataclasses import dataclass

from gac_app.evaluation.metrics import Comparison, compare, effect_shown
from gac_app.evaluation.running import Likelihoods, System, SystemReport
from gac_app.evaluation.tasks import Question

LEVEL, POWER, DISCORDANT = 0.05, 0.8, 0.2
AS_GOOD = 0.02  # a loss of accuracy that a cheaper setting may have


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
    """A setting against the best member on the held-out questions."""

    chosen: SystemReport
    best: SystemReport

    @property
    def comparison(self) -> Comparison:
        return compare(self.chosen.is_right, self.best.is_right)

    @property
    def is_shown(self) -> bool:
        """Whether the setting is better than the member, beyond chance."""
        return self.comparison.delta > 0 and self.comparison.p < LEVEL

    @property
    def is_as_good(self) -> bool:
        return self.comparison.is_as_good(AS_GOOD)

    @property
    def effect_shown(self) -> float | None:
        """The smallest difference that so many questions show with a power of 80 %; None if they show none."""
        return effect_shown(len(self.chosen.answers), POWER, DISCORDANT, LEVEL)


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
        cheaper: the best member behind a smaller gate; None without one, or as above.
        times: milliseconds a token, of the chosen setting and each member alone.
        reports: on all answers, of both halves.
    """

    best: System
    chosen: System
    accuracies: dict[System, float]
    likelihoods: Likelihoods
    read: list[Question]
    saved: tuple[float, float, float] | str
    judged: HeldOut | None
    cheaper: HeldOut | None
    times: dict[System, float | None]
    managed: Managed
    reports: list[SystemReport]

    @property
    def takes_ensemble(self) -> bool:
        return self.judged is not None and self.judged.is_shown

    @property
    def taken(self) -> System:
        if self.takes_ensemble:
            return self.chosen
        return self.cheaper.chosen.system if self.cheaper and self.takes_cheaper else self.best

    @property
    def takes_cheaper(self) -> bool:
        """Whether the cheaper setting is as good as the best member, and takes less time a token."""
        return bool(self.cheaper and self.cheaper.is_as_good and (self.time_of(self.cheaper.chosen.system) or 1) < 1)

    def time_of(self, system: System) -> float | None:
        """Per token, as a share of the best member's; None if it was not measured."""
        mine, whole = self.times.get(system), self.times.get(self.best)
        return mine / whole if mine and whole else None
