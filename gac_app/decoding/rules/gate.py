"""When the ensemble is asked: at every step, where the gate model is unsure (paper, section 3.3), or where members
disagree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gac_app.config import Settings
from gac_app.decoding.distribution.expectation import Favourite


@dataclass(frozen=True, slots=True)
class GateDecision:
    """Whether a step is ensembled, and the gate's confidence: the largest probability it gave any token."""

    is_open: bool
    confidence: float


class Gate(Protocol):
    """Decides which members take part in a step."""

    @property
    def temperature(self) -> float:
        """By which favourites are to be scaled before the gate sees them; see `calibrate`."""

    def asked_first(self, names: list[str]) -> list[str]:
        """Of the members still there, in the ensemble's order, those whose distributions the decision needs."""

    def decide(self, favourites: Sequence[Favourite], *, is_stable: bool) -> GateDecision:
        """Whether all take part, or the gate model alone.

        Args:
            favourites: of the members asked first, the gate's first.
            is_stable: whether all members read what was chosen last as a token of their own.
        """


@dataclass(frozen=True, slots=True)
class EveryStep:
    """All members take part in every step, and are asked at once."""

    temperature: float = 1.0

    def asked_first(self, names: list[str]) -> list[str]:
        return names

    def decide(self, favourites: Sequence[Favourite], *, is_stable: bool) -> GateDecision:
        return GateDecision(is_open=True, confidence=favourites[0].prob)


@dataclass(frozen=True, slots=True)
class ThresholdGate:
    """The gate model decodes alone while its confidence is at least `threshold`."""

    threshold: float
    temperature: float = 1.0

    def asked_first(self, names: list[str]) -> list[str]:
        return names[:1]

    def decide(self, favourites: Sequence[Favourite], *, is_stable: bool) -> GateDecision:
        return GateDecision(is_open=favourites[0].prob < self.threshold, confidence=favourites[0].prob)


@dataclass(frozen=True, slots=True)
class AgreementGate:
    """The gate model decides alone where all favour the same token, and inside words that members cut differently.

    After SAFE (arXiv 2510.15346), which ensembles only where members disagree, and only at positions at which the text
    so far is made of every member's own tokens. All are asked at every step, so this saves no passes by itself;
    speculation does.
    """

    temperature: float = 1.0

    def asked_first(self, names: list[str]) -> list[str]:
        return names

    def decide(self, favourites: Sequence[Favourite], *, is_stable: bool) -> GateDecision:
        disagree = any(favourite.token_id != favourites[0].token_id for favourite in favourites)
        return GateDecision(is_open=is_stable and disagree, confidence=favourites[0].prob)


def make_gate(settings: Settings) -> Gate:
    """The gate that the settings ask for. Above 1 a threshold means every step, so all are asked at once."""
    if settings.mode == "agreement":
        return AgreementGate()
    if settings.mode == "every-step" or settings.threshold > 1:
        return EveryStep()
    return ThresholdGate(settings.threshold, settings.gate_temperature)
