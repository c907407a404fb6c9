"""When the ensemble is asked."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gac_app.decoding.distribution.token_distribution import TokenDistribution
from gac_app.decoding.member import InlineMember
from gac_app.decoding.rules.gate import Gate, GateView, make_gate
from gac_app.decoding.rules.shipped.gates import Agreement, Margin, MaxProb
from gac_app.settings import Settings
from tests.decoding.answers import LETTERS, decoded
from tests.decoding.conftest import make
from tests.decoding.toy import toy_ensemble, toys
from tests.fakes import FakeModel, Fault, config_of, ensemble_of

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


@pytest.mark.parametrize("alignment", ["paper", "prefix"])
@pytest.mark.parametrize("speculation", ["off", "on"])
def test_members_take_part_where_their_argmaxes_differ(alignment: str, speculation: str) -> None:
    num_ensembled = num_stable = 0
    for seed in range(6):
        how = {"mode": "agreement", "alignment": alignment, "speculation": speculation}
        steps, _ = decoded(toy_ensemble(toys(seed, 2, LETTERS, num_words=5)), prompt="a b", **how)
        is_stable = True
        for step in steps:
            names = [member.member for member in step.members]
            if step.is_ensembled:
                assert is_stable
                assert step.members[0].top[0].token_id != step.members[1].top[0].token_id
            else:
                assert names == ["m0"]
                assert step.token_id == step.members[0].top[0].token_id
            num_ensembled += step.is_ensembled
            num_stable += is_stable
            is_stable = not step.spellings
    assert 0 < num_ensembled < num_stable


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 10.0])
def test_a_gate_s_temperature_divides_its_logits(temperature: float) -> None:
    logits = torch.tensor([3.0, 1.0, -torch.inf, 0.5])
    probs = torch.softmax(logits, 0)
    view = Gate(MaxProb(), temperature=temperature).view(TokenDistribution(probs))
    assert view == (0, pytest.approx(float(torch.softmax(logits / temperature, 0)[0])))
    scaled = TokenDistribution(probs).tempered(temperature)
    assert scaled.probs_U.tolist() == pytest.approx(torch.softmax(logits / temperature, 0).tolist())


def test_drafting_and_scoring_know_the_temperature() -> None:
    ensemble = make(1, 2, sharpness=4.0)
    how: dict[str, Any] = {"mode": "gate", "threshold": 0.6, "gate_temperature": 2.0}
    plain, drafted = (decoded(ensemble, **how, speculation=speculation)[0] for speculation in ("off", "on"))
    assert [(s.token, s.gate_confidence) for s in plain] == [(s.token, s.gate_confidence) for s in drafted]
    assert all(step.is_ensembled == (step.gate_confidence < 0.6) for step in plain)
    warm = ensemble.score("the", [" model"], ensemble.config.settings_from(how), raw=True)[0]
    cold = ensemble.score("the", [" model"], ensemble.config.settings_from({**how, "gate_temperature": 0.1}), raw=True)[
        0
    ]
    alone = ensemble.score("the", [" model"], alone="m1", raw=True)[0]
    assert cold.num_ensembled == 0 < warm.num_ensembled
    assert warm.log_prob != pytest.approx(alone.log_prob)


@pytest.mark.parametrize("how", [{"logit_bias": {65: 1.0}}, {"on_member_failure": "drop"}], ids=["bias", "no gate"])
def test_what_a_gate_would_choose_is_not_known(how: dict[str, Any]) -> None:
    """Where a constraint would need all its tokens, and once it has failed, though others still choose together."""
    fault = Fault("nan", 3) if "on_member_failure" in how else None
    models = [FakeModel("a", 1, fault), FakeModel("b", 2), FakeModel("c", 3)]
    steps, _ = decoded(ensemble_of(models, config_of(["a", "b", "c"]), InlineMember), max_new_tokens=8, **how)
    assert all(step.is_ensembled for step in steps)
    assert [step.gate_choice is not None for step in steps] == [fault is not None and not s.dropped for s in steps]
    assert (steps[-1].dropped == ("a",)) == (fault is not None)
