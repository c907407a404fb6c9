"""Every gate rule against an example worked by hand, and when the ensemble is asked."""

from __future__ import annotations

import builtins
import math
import signal
from typing import Any

import pytest
import torch

from gac_app.decoding.distribution.token_distribution import TokenDistribution
from gac_app.decoding.member import InlineMember
from gac_app.decoding.rules import GateRule, gate_rules
from gac_app.decoding.rules.gate import Gate, GateView, make_gate
from gac_app.decoding.rules.shipped.gates import Agreement, Entropy, Margin, MaxProb
from gac_app.errors import RuleError
from gac_app.settings import Settings
from tests.decoding.answers import decoded
from tests.decoding.conftest import make
from tests.fakes import FakeModel, Fault, ensemble_of


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


@pytest.mark.parametrize("name", [name for name in gate_rules if name != "random"])
def test_certain_is_certain(name: str) -> None:
    """Also in a vocabulary of one, which has no second token."""
    for certain in (distribution(0, 1, 0), distribution(1.0)):
        assert gate_rules.make(name, {})(certain) == pytest.approx(1)


def test_chance_is_below_its_threshold_as_often_as_that_says() -> None:
    """The same for the same likeliest tokens."""
    rule, draws = gate_rules.make("random", {}), torch.Generator().manual_seed(1)
    rows = torch.softmax(torch.randn(2000, 30, generator=draws), 1)
    found = [rule(TokenDistribution(row)) for row in rows]
    assert sum(confidence < 0.2 for confidence in found) / len(found) == pytest.approx(0.2, abs=0.03)
    assert found[:9] == [rule(TokenDistribution(row)) for row in rows[:9]]


class Boundless(GateRule):
    def __call__(self, gate: TokenDistribution) -> float:
        return 2 * gate.top[0][1]


class Unsaid(GateRule):
    """Says nothing."""


@pytest.mark.parametrize(("rule", "told"), [(Boundless, "expected 0 to 1"), (Unsaid, "a gate rule defines __call__")])
def test_a_confidence_that_is_none_is_told(rule: type[GateRule], told: str) -> None:
    with pytest.raises(RuleError, match=told):
        Gate(rule()).view(distribution(0.9, 0.1))


class Unopened(GateRule):
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


# --- when the ensemble is asked

SURE, UNSURE, OTHER = GateView(1, 0.9), GateView(1, 0.2), GateView(2, 0.6)
EVERY_STEP, AGREEMENT = Gate(), Gate(Agreement())


@pytest.mark.parametrize(
    ("gate", "views", "is_stable", "is_open"),
    [
        (EVERY_STEP, [SURE, SURE], True, True),
        (Gate(MaxProb(), 0.5), [SURE], True, False),
        (Gate(MaxProb(), 0.5), [UNSURE], False, True),
        (Gate(MaxProb(), 0.9), [SURE], True, False),
        (AGREEMENT, [UNSURE, SURE], True, False),
        (AGREEMENT, [SURE, OTHER], True, True),
        (AGREEMENT, [SURE, OTHER], False, False),
        (AGREEMENT, [SURE, SURE, OTHER], True, True),
        (AGREEMENT, [SURE], True, False),
    ],
)
def test_a_gate_opens(gate: Gate, views: list[GateView], is_stable: bool, is_open: bool) -> None:
    decision = gate.decide(views, is_stable=is_stable)
    assert (decision.is_open, decision.confidence) == (is_open, views[0].confidence)


def test_settings_name_the_gate() -> None:
    assert make_gate(Settings(mode="every-step")) == Gate()
    assert make_gate(Settings(mode="gate", threshold=0.4)) == Gate(MaxProb(), 0.4)
    assert make_gate(Settings(mode="gate", threshold=0.4, gate_temperature=2)) == Gate(MaxProb(), 0.4, 2)
    assert make_gate(Settings(mode="gate", threshold=1.01)) == Gate()
    assert make_gate(Settings(mode="agreement")) == AGREEMENT
    assert make_gate(Settings(gate_rule="margin", threshold=0.4)) == Gate(Margin(), 0.4)
    assert make_gate(Settings(mode="agreement")).asked_first(["a", "b"]) == ["a", "b"]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 10.0])
def test_a_gate_s_temperature_divides_its_logits(temperature: float) -> None:
    logits = torch.tensor([3.0, 1.0, -torch.inf, 0.5])
    probs = torch.softmax(logits, 0)
    view = Gate(MaxProb(), temperature=temperature).view(TokenDistribution(probs))
    assert view == (0, pytest.approx(float(torch.softmax(logits / temperature, 0)[0])))
    tempered = Gate(Margin(), temperature=2).view(distribution(0.64, 0.36))
    assert tempered.confidence == pytest.approx((0.8 - 0.6) / 1.4), "every rule's"
    scaled = TokenDistribution(probs).tempered(temperature)
    assert scaled.probs_U.tolist() == pytest.approx(torch.softmax(logits / temperature, 0).tolist())


def test_drafting_and_scoring_know_the_temperature() -> None:
    ensemble = make(1, 2, sharpness=4.0)
    how: dict[str, Any] = {"mode": "gate", "threshold": 0.6, "gate_temperature": 2.0}
    plain, drafted = (decoded(ensemble, **how, speculation=speculation)[0] for speculation in ("off", "on"))
    assert [(s.token, s.gate_confidence) for s in plain] == [(s.token, s.gate_confidence) for s in drafted]
    assert all(step.is_ensembled == (step.gate_confidence < 0.6) for step in plain)
    ways = (ensemble.config.settings_from({**how, "gate_temperature": temperature}) for temperature in (0.1, 2.0))
    cold, warm = (ensemble.score("the", [" model"], settings, raw=True)[0] for settings in ways)
    alone = ensemble.score("the", [" model"], alone="m1", raw=True)[0]
    assert cold.num_ensembled == 0 < warm.num_ensembled
    assert warm.log_prob != pytest.approx(alone.log_prob)


@pytest.mark.parametrize("how", [{"logit_bias": {65: 1.0}}, {"on_member_failure": "drop"}], ids=["bias", "no gate"])
def test_what_a_gate_would_choose_is_not_known(how: dict[str, Any]) -> None:
    """Where a constraint would need all its tokens, and once it has failed, though others still choose together."""
    fault = Fault("nan", 3) if "on_member_failure" in how else None
    models = [FakeModel("a", 1, fault), FakeModel("b", 2), FakeModel("c", 3)]
    steps, _ = decoded(ensemble_of(models, member=InlineMember), max_new_tokens=8, **how)
    assert all(step.is_ensembled for step in steps)
    assert [step.gate_choice is not None for step in steps] == [fault is not None and not s.dropped for s in steps]
    assert (steps[-1].dropped == ("a",)) == (fault is not None)
