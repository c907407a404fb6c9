"""Every gate rule against an example worked by hand."""

from __future__ import annotations

import builtins
import math
import signal

import pytest
import torch

from gac_app.decoding.distribution.token_distribution import TokenDistribution
from gac_app.decoding.rules import GateRule, gate_rules
from gac_app.decoding.rules.gate import Gate
from gac_app.decoding.rules.shipped.gates import Agreement, Entropy, Margin, MaxProb
from gac_app.errors import RuleError


def distribution(*probs: float) -> TokenDistribution:
    return TokenDistribution(torch.tensor(probs))


@pytest.mark.parametrize(
    ("rule", "confidence"),
    [
        (MaxProb(), 0.5),
        (Margin(), 0.25),
        (Entropy(), math.exp(0.5 * math.log(0.5) + 0.5 * math.log(0.25))),  # H = 0.5 ln 2 + 2 x 0.25 ln 4
        (Agreement(), 0.5),
    ],
)
def test_confidence_by_hand(rule: GateRule, confidence: float) -> None:
    assert rule(distribution(0.25, 0.5, 0.25, 0.0)) == pytest.approx(confidence)


@pytest.mark.parametrize("name", gate_rules)
def test_certain_is_certain(name: str) -> None:
    assert gate_rules.make(name, {})(distribution(0, 1, 0)) == pytest.approx(1)


def test_a_vocabulary_of_one_has_no_second_token() -> None:
    assert Margin()(distribution(1.0)) == 1


def test_the_temperature_is_every_rule_s() -> None:
    tempered = Gate(Margin(), temperature=2).view(distribution(0.64, 0.36))
    assert tempered.confidence == pytest.approx((0.8 - 0.6) / 1.4)


class Boundless(GateRule):
    """Twice as sure as one can be."""

    def __call__(self, gate: TokenDistribution) -> float:
        return 2 * gate.top[0][1]


def test_a_confidence_out_of_bounds_is_told() -> None:
    with pytest.raises(RuleError, match="expected 0 to 1"):
        Gate(Boundless()).view(distribution(0.9, 0.1))


class Unopened(GateRule):
    """Cannot decide."""

    raises: str

    def __call__(self, gate: TokenDistribution) -> float:
        return 1.0

    def opens(self, *_: object, **__: object) -> bool:
        if self.raises == "Ctrl-C":
            signal.raise_signal(signal.SIGINT)
        raise getattr(builtins, self.raises)("planned")


@pytest.mark.parametrize("raised", ["ValueError", "SystemExit", "KeyboardInterrupt"])
def test_a_decision_that_fails_is_told(raised: str) -> None:
    gate = Gate(Unopened(raises=raised))
    with pytest.raises(RuleError, match=f"{raised}: planned"):
        gate.decide([gate.view(distribution(0.9, 0.1))], is_stable=True)


def test_a_pressed_ctrl_c_is_no_failure_of_a_rule() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a test before may have left another
    gate = Gate(Unopened(raises="Ctrl-C"))
    with pytest.raises(KeyboardInterrupt):
        gate.decide([gate.view(distribution(0.9, 0.1))], is_stable=True)
    signal.signal(signal.SIGINT, before)


class Unsaid(GateRule):
    """Says nothing."""


def test_a_gate_rule_without_a_confidence_is_told() -> None:
    with pytest.raises(RuleError, match="a gate rule defines __call__"):
        Gate(Unsaid()).view(distribution(0.9, 0.1))
