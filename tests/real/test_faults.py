"""Faults planted in a real member: the answer says so or goes on without it, and the next one is as if nothing was."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.trace.events import FinishedEvent, FinishReason, StepTrace, TokenEvent
from gac_app.errors import MemberError
from gac_app.models.base import Model, Read
from tests.fakes import WAIT_S

GATE, CULPRIT = "Qwen2.5-Coder-0.5B-Instruct", "SmolLM2-135M-Instruct"
FROM_PASS = 3
DETAILS = {
    "nan": "its logits are not finite numbers (NaN or infinite)",
    "raise": "RuntimeError: planned",
    "memory": "the device has no memory left for this step",
    "hang": "gave no answer in time for this step",
}


class Planted:
    """From its fourth pass on, the member's model fails, until `mend`."""

    def __init__(self, model: Model, kind: str) -> None:
        self._model, self._kind = model, kind
        self._read, self._num_passes = model.read, 0
        self.released = threading.Event()
        model.read = self  # type: ignore[method-assign, assignment]

    def __call__(self, reads: list[Read]) -> list[torch.Tensor]:
        logits = self._read(reads)
        self._num_passes += 1
        if self._num_passes <= FROM_PASS or self.released.is_set():
            return logits
        if self._kind == "raise":
            raise RuntimeError("planned")
        if self._kind == "memory":
            raise MemoryError("Unable to allocate 594. KiB for an array")
        if self._kind == "hang":
            self.released.wait(WAIT_S)
            return logits
        return [torch.full_like(each, torch.nan) for each in logits]

    def mend(self) -> None:
        self.released.set()
        self._model.read = self._read  # type: ignore[method-assign]


def answered(ensemble: Ensemble, **changes: object) -> tuple[list[StepTrace], FinishedEvent]:
    changes = {"mode": "every-step", "max_new_tokens": 8, **changes}
    *tokens, finished = ensemble.generate("Name three colours.", ensemble.config.settings_from(changes))
    assert isinstance(finished, FinishedEvent)
    return [event.step for event in tokens if isinstance(event, TokenEvent)], finished


@pytest.fixture
def healthy(default: Ensemble) -> Iterator[str]:
    """The digest of the answer without faults, which is checked again behind the test, as are the slots."""
    models = [member.model for member in default.members.values()]  # type: ignore[attr-defined]
    digest = answered(default)[1].digest
    settled = [default.members[name]._call for name in default.members]  # type: ignore[attr-defined]
    num_free = [
        settle(lambda model=model: len(model._free_slots)) for settle, model in zip(settled, models, strict=True)
    ]
    yield digest
    assert answered(default)[1].digest == digest
    assert num_free == [
        settle(lambda model=model: len(model._free_slots)) for settle, model in zip(settled, models, strict=True)
    ]


@pytest.mark.parametrize("kind", DETAILS)
@pytest.mark.parametrize("policy", ["stop", "drop"])
def test_a_real_member_that_fails(default: Ensemble, healthy: str, kind: str, policy: str) -> None:
    planted = Planted(default.members[CULPRIT].model, kind)  # type: ignore[attr-defined]
    limits = {"step_timeout_s": 3.0} if kind == "hang" else {}
    try:
        steps, finished = answered(default, on_member_failure=policy, **limits)
    finally:
        planted.mend()
    if policy == "stop":
        assert (finished.reason, finished.detail) == (FinishReason.ERROR, f"{CULPRIT}: {DETAILS[kind]}")
        assert 0 < len(steps) < 8
        return
    assert (finished.reason, len(steps)) == (FinishReason.LENGTH, 8)
    lost = [step.dropped for step in steps].index((CULPRIT,))
    assert all(step.dropped == ((CULPRIT,) if step.position >= lost else ()) for step in steps)
    assert all([member.member for member in step.members] == [GATE] for step in steps[lost:])


def test_where_all_real_members_fail_no_token_is_made_up(default: Ensemble, healthy: str) -> None:
    planted = [Planted(member.model, "nan") for member in default.members.values()]  # type: ignore[attr-defined]
    try:
        steps, finished = answered(default, on_member_failure="drop")
    finally:
        for each in planted:
            each.mend()
    assert finished.reason is FinishReason.ERROR
    assert "not finite" in finished.detail
    assert len(steps) <= FROM_PASS + 1


def test_memory_of_kept_answers_is_given_back_where_needed(default: Ensemble, healthy: str) -> None:
    member = default.members[CULPRIT]
    list(default.generate("What is kept of this?", namespace="alice/talk"))
    member._call(lambda: None)  # type: ignore[attr-defined]
    assert member.kept.num_ids > 0  # type: ignore[attr-defined]
    model = member.model  # type: ignore[attr-defined]
    read, has_failed = model.read, []

    def fail_once(reads: list[Read]) -> list[torch.Tensor]:
        if not has_failed:
            has_failed.append(MemberError(CULPRIT, "out-of-memory", "planted"))
            raise has_failed[0]
        found: list[torch.Tensor] = read(reads)
        return found

    model.read = fail_once
    try:
        assert answered(default)[1].digest == healthy
    finally:
        model.read = read
        default.forget("alice")
    assert member.kept.num_ids == 0 or member.kept.num_sequences == 1  # type: ignore[attr-defined]
