"""A member that fails at a step: the answer ends with an error naming it, or goes on as the ensemble of the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.loop.session import Branch
from gac_app.decoding.trace.events import FinishedEvent, FinishReason, StepTrace
from gac_app.executors.threads import ThreadMember
from gac_app.vocab.mapping import VocabMapping
from gac_app.vocab.union import UnionVocabulary
from tests.clocks import HANG_S
from tests.fakes import FakeModel, Fault, config_of, steps_and_end

NAMES = ("a", "b", "c")
PROMPT = "Name three colours"
SETTINGS: dict[str, Any] = {"mode": "every-step", "max_new_tokens": 10}
DETAILS = {
    "nan": "{}: its logits are not finite numbers (NaN or infinite)",
    "raise": "{}: RuntimeError: planned",
    "hang": "{}: gave no answer in time for this step",
}


class Lab:
    """Ensembles over one and the same union, whoever takes part."""

    def __init__(self) -> None:
        self.models: list[FakeModel] = []
        self._ensembles: list[Ensemble] = []

    def ensemble(self, names: tuple[str, ...], faults: dict[str, Fault], settings: dict[str, Any]) -> Ensemble:
        union = UnionVocabulary.build(FakeModel(name, seed).vocabulary for seed, name in enumerate(NAMES))
        models = [FakeModel(name, seed, faults.get(name)) for seed, name in enumerate(NAMES) if name in names]
        members = [ThreadMember(model, VocabMapping(model.vocabulary, union)) for model in models]
        limits = {"step_timeout_s": HANG_S} if any(fault.kind == "hang" for fault in faults.values()) else {}
        config = config_of(names, {**SETTINGS, **limits, "gate": names[0], **settings})
        self.models += models
        self._ensembles.append(Ensemble(members, config))
        return self._ensembles[-1]

    def close(self) -> None:
        for model in self.models:
            model.released.set()
        for ensemble in self._ensembles:
            ensemble.close()


@pytest.fixture
def lab(steady_clock: None) -> Iterator[Lab]:
    lab = Lab()
    yield lab
    lab.close()  # a hanging member gives back once it is let go
    assert not any(model.num_held for model in lab.models)


def decoded(ensemble: Ensemble, branch: Branch | None = None) -> tuple[list[StepTrace], FinishedEvent]:
    return steps_and_end(ensemble.session(PROMPT, branch=branch).events())


def comparable(steps: list[StepTrace]) -> list[Any]:
    found = []
    for step in steps:
        members = [(member.member, pytest.approx(member.weight), member.rank) for member in step.members]
        found.append((step.token, pytest.approx(step.prob), step.is_ensembled, step.winner, members))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["gate", "every-step"])
@pytest.mark.parametrize("kind", DETAILS)
@pytest.mark.parametrize("culprit", NAMES)
def test_by_default_an_error_names_the_member(lab: Lab, culprit: str, kind: Any, mode: str) -> None:
    # A threshold of 1 opens the gate at every step, one member after the other.
    settings = {"mode": mode, "threshold": 1.0}
    healthy, _ = decoded(lab.ensemble(NAMES, {}, settings))
    steps, finished = decoded(lab.ensemble(NAMES, {culprit: Fault(kind, from_read=3)}, settings))
    assert (finished.reason, finished.detail) == (FinishReason.ERROR, DETAILS[kind].format(culprit))
    assert comparable(steps) == comparable(healthy[:3]), "what was written before stays"
    assert finished.text == b"".join(step.token for step in steps).decode()


@pytest.mark.slow
@pytest.mark.parametrize("kind", DETAILS)
@pytest.mark.parametrize("mode", ["gate", "every-step"])
@pytest.mark.parametrize("culprit", NAMES)
def test_a_dropped_member_leaves_the_ensemble_of_the_rest(lab: Lab, culprit: str, mode: str, kind: Any) -> None:
    # With the alignment of the paper, for a replayed answer is then read in the very ids it was decoded in.
    settings = {"mode": mode, "threshold": 0.9, "on_member_failure": "drop", "alignment": "paper"}
    rest = tuple(name for name in NAMES if name != culprit)
    steps, finished = decoded(lab.ensemble(NAMES, {culprit: Fault(kind, from_read=2)}, settings))
    lost_at = next(step.position for step in steps if step.dropped)
    assert lost_at >= 2
    assert [step.dropped for step in steps] == [()] * lost_at + [(culprit,)] * (len(steps) - lost_at)
    assert (finished.reason, finished.num_tokens) == (FinishReason.LENGTH, 10)
    expected, _ = decoded(lab.ensemble(rest, {}, settings), Branch(tuple(steps[:lost_at])))
    assert comparable(steps[lost_at:]) == comparable(expected[lost_at:])
    assert finished.num_ensembled == sum(step.is_ensembled for step in steps)


@pytest.mark.parametrize("kind", ["nan", "raise", "hang"])
@pytest.mark.parametrize("mode", ["gate", "every-step"])
def test_where_all_fail_no_token_is_made_up(lab: Lab, mode: str, kind: Any) -> None:
    faults = {name: Fault(kind, from_read=1) for name in NAMES}
    settings = {"mode": mode, "threshold": 1.0, "on_member_failure": "drop"}
    steps, finished = decoded(lab.ensemble(NAMES, faults, settings))
    assert (finished.reason, finished.detail) == (FinishReason.ERROR, DETAILS[kind].format("c")), "the last one to go"
    assert [step.dropped for step in steps] == [()]
