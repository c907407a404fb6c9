"""Answers of small ensembles, as they are compared with each other."""

from __future__ import annotations

from typing import Any

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.loop.session import Branch
from gac_app.decoding.trace.events import FinishedEvent, StepTrace, TokenEvent
from tests.fakes import FakeModel

LETTERS = (b"a", b"b", b" ", b"\xc3", b"\xa9")  # whose characters members may cut in the middle
EVERY_STEP: dict[str, Any] = {"mode": "every-step", "max_new_tokens": 24}


def decoded(
    ensemble: Ensemble, branch: Branch | None = None, *, prompt: str = "ab é", alone: str | None = None, **how: Any
) -> tuple[list[StepTrace], FinishedEvent]:
    settings = ensemble.config.settings_from({**EVERY_STEP, **how})
    *events, finished = ensemble.session(prompt, settings, raw=True, alone=alone, branch=branch).events()
    assert isinstance(finished, FinishedEvent)
    assert "".join(event.text for event in events if isinstance(event, TokenEvent)) == finished.text
    assert len(events) == finished.num_tokens
    return [event.step for event in events if isinstance(event, TokenEvent)], finished


def facts(steps: list[StepTrace], finished: FinishedEvent) -> list[Any]:
    """All but what a step cost."""
    values = [(s.token, s.prob, s.top, s.spellings, [(m.member, m.prob, m.top) for m in s.members]) for s in steps]
    return [*values, finished.text, finished.reason, finished.detail]


def twins(**slow: Any) -> list[FakeModel]:
    """Two members that like the same tokens best; the fields given are the second one's."""
    return [FakeModel(name="a", seed=5), FakeModel(name="b", seed=5, **slow)]
