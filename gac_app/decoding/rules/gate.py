"""The gate: which steps ask all members (paper, section 3.3)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gac_app.decoding.distribution import TokenDistribution
from gac_app.decoding.rules.contracts import GateRule, gate_rules
from gac_app.decoding.rules.shipped.gates import Agreement, MaxProb
from gac_app.errors import RuleError
from gac_app.settings import Settings


@dataclass(frozen=True, slots=True)
class GateDecision:
    """Whether a step is ensembled.

    Attributes:
        is_open: every member takes part; else the gate decides alone.
        confidence: of the gate; None = its largest probability.
        drawn: the member that stands for all; "" = none.
    """

    is_open: bool
    confidence: float | None = None
    drawn: str = ""


_LARGEST = MaxProb()  # the confidence where there is no gate rule


class GateView(NamedTuple):
    """What a gate needs of a member's distribution: its argmax, and the rule's confidence."""

    argmax: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Gate:
    """Decides which members take part in a step.

    Attributes:
        rule: how sure the gate model is; None = all members take part in every step.
        threshold: with at least this confidence the gate decides alone.
        temperature: divides the gate's logits before the rule sees them; see `calibrate`.
    """

    rule: GateRule | None = None
    threshold: float = 0.5
    temperature: float = 1.0

    @property
    def key(self) -> Hashable:
        """Identifies how the gate computes its confidence. The threshold is not part of it."""
        rule = self.rule or _LARGEST
        return type(rule), repr(rule), self.temperature  # a notebook may replace a rule by another of the same name

    def asked_first(self, names: list[str]) -> list[str]:
        """Those of `names`, in the ensemble's order, whose distributions the decision needs."""
        return names[:1] if self.rule and not self.rule.asks_all else names

    def is_asked_alone(self, names: list[str]) -> bool:
        """Whether the first of `names` is asked before the others."""
        return len(self.asked_first(names)) < len(names)

    def view(self, distribution: TokenDistribution) -> GateView:
        """Raises RuleError if the rule fails or gives no valid confidence."""
        rule = self.rule or _LARGEST
        scaled = distribution if self.temperature == 1 else distribution.tempered(self.temperature)
        with rule.failures_named():
            confidence = float(rule(scaled))
        if not -1e-3 <= confidence <= 1.001:  # allows for rounding
            raise RuleError(rule.rule_name, f"gave a confidence of {confidence:g}; expected 0 to 1")
        return GateView(distribution.top[0][0], confidence)

    def decision_on(self, asked: Sequence[TokenDistribution], *, is_stable: bool) -> GateDecision:
        """The decision on the distributions of the members asked first; see `decide`. From their bounds, where these
        tell it.
        """
        if self.rule is None:  # for the trace: all take part anyway
            asked = [asked[0].estimate]
        is_bounded = (self.rule or _LARGEST).reads_top and self.temperature == 1
        if is_bounded and not all(distribution.is_whole for distribution in asked):
            bounds = [pair for distribution in asked if (pair := distribution.top2_bounds())]
            if len(bounds) == len(asked):
                low, high = (
                    self.decide([self.view(d) for d in side], is_stable=is_stable) for side in zip(*bounds, strict=True)
                )
                if low.is_open == high.is_open:
                    return low
        return self.decide([self.view(distribution) for distribution in asked], is_stable=is_stable)

    def decide(self, views: Sequence[GateView], *, is_stable: bool) -> GateDecision:
        """Decide whether all members take part, or the gate alone.

        Args:
            views: of the members asked first, the gate's first.
            is_stable: whether every member read the last token as one of its own.

        Raises:
            RuleError: the rule fails.
        """
        confidence = views[0].confidence
        argmaxes = [view.argmax for view in views]
        if self.rule is None:
            return GateDecision(is_open=True, confidence=confidence)
        with self.rule.failures_named():
            is_open = bool(self.rule.opens(confidence, self.threshold, argmaxes, is_stable=is_stable))
        return GateDecision(is_open, confidence)


def make_gate(settings: Settings) -> Gate:
    """The gate of the settings. A threshold above 1 means every step, so all members are asked at once."""
    if settings.mode == "agreement":
        return Gate(Agreement())
    if settings.mode == "every-step" or settings.threshold > 1:
        return Gate()
    return Gate(gate_rules.of(settings), settings.threshold, settings.gate_temperature)
