"""When the ensemble is asked (paper, section 3.3): at every step, or where the gate model is unsure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gac_app.config import Settings


@dataclass(frozen=True, slots=True)
class GateDecision:
    """Whether a step is ensembled, and the gate's confidence that decided it."""

    is_open: bool
    confidence: float


class Gate(Protocol):
    """Decides which members take part in a step."""

    def asked_first(self, names: list[str]) -> list[str]:
        """Of the members still there, in the ensemble's order, those whose distributions the decision needs."""

    def decide(self, confidence: float) -> GateDecision:
        """Whether the others are asked too, given the largest probability the gate model gave any token."""


@dataclass(frozen=True, slots=True)
class EveryStep:
    """All members take part in every step, and are asked at once."""

    def asked_first(self, names: list[str]) -> list[str]:
        return names

    def decide(self, confidence: float) -> GateDecision:
        return GateDecision(is_open=True, confidence=confidence)


@dataclass(frozen=True, slots=True)
class ThresholdGate:
    """The gate model decodes alone while its confidence is at least `threshold`."""

    threshold: float

    def asked_first(self, names: list[str]) -> list[str]:
        return names[:1]

    def decide(self, confidence: float) -> GateDecision:
        return GateDecision(is_open=confidence < self.threshold, confidence=confidence)


def make_gate(settings: Settings) -> Gate:
    """The gate that the settings ask for. Above 1 a threshold means every step, so all are asked at once."""
    return EveryStep() if settings.mode == "every-step" or settings.threshold > 1 else ThresholdGate(settings.threshold)
