"""A run as it is seen, and runs that take its place, by hand."""

from __future__ import annotations

from typing import Any, cast

import pytest

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.loop import Branch
from gac_app.decoding.trace import (
    Event,
    FinishedEvent,
    FinishReason,
    TokenEvent,
)
from gac_app.errors import RequestError
from gac_app.services.runs.live_run import LiveRun, RunPlan
from gac_app.services.runs.revisions import extended, regenerated
from gac_app.services.runs.views import RunView, StreamView, run_status
from gac_app.settings import MAX_NEW_TOKENS, Settings
from gac_app.storage import RunStatus, Turn
from tests.ui.planted import planted_step
from tests.ui.spy import Spy

PIECES = ("So", " it", " is")


def token_events(pieces: tuple[str, ...] = PIECES) -> list[TokenEvent]:
    return [TokenEvent(piece, planted_step(position, piece)) for position, piece in enumerate(pieces)]


def ended(reason: FinishReason = FinishReason.STOP, num_tokens: int = 3) -> FinishedEvent:
    return FinishedEvent(reason, "".join(PIECES), num_tokens, 0, 0.1, 0.5, {})


def stream(reason: FinishReason | None = FinishReason.STOP, name: str = "a", num_tokens: int = 3) -> StreamView:
    end: list[Event] = [] if reason is None else [ended(reason, num_tokens)]
    return StreamView(name, events=[*token_events(), *end])


STOP, LENGTH, ABORT, ERROR = FinishReason.STOP, FinishReason.LENGTH, FinishReason.ABORT, FinishReason.ERROR


@pytest.mark.parametrize(
    ("reasons", "status"),
    [
        ([STOP, LENGTH], RunStatus.FINISHED),
        ([STOP, ERROR], RunStatus.FINISHED),
        ([ERROR, STOP], RunStatus.FAILED),
        ([None, STOP], RunStatus.FAILED),
        ([STOP, None], RunStatus.FINISHED),
        ([STOP, ABORT], RunStatus.ABORTED),
        ([ERROR, ABORT], RunStatus.ABORTED),
    ],
)
def test_the_status_of_a_run(reasons: list[FinishReason | None], status: RunStatus) -> None:
    assert run_status([stream(reason) for reason in reasons]) is status


# --- runs in the place of another


def parent(ensemble: FinishReason = STOP, alone: FinishReason = STOP, **settings: Any) -> RunView:
    run = LiveRun(
        RunPlan(
            prompt="Why?",
            settings=Settings(**{"max_new_tokens": 3, "seed": 9, **settings}),
            conversation_id="c1",
            turns=(Turn("r0", "One?", {}),),
            seeds={"ensemble": 4},
        ),
        owner="ann",
        keys=["ensemble", "member:a"],
        member_names=("a", "b"),
    )
    run.streams["ensemble"].events += stream(ensemble).events
    run.streams["member:a"].events += stream(alone).events
    return run


def test_after_the_largest_seed_comes_the_first() -> None:
    assert regenerated(parent(seed=2**63 - 1), "member:a").seeds["member:a"] == 0
    assert regenerated(parent(seed=2**63 - 2), "member:a").seeds["member:a"] == 2**63 - 1
    with pytest.raises(RequestError, match="expected one of ensemble, member:a"):
        regenerated(parent(), "member:b")


@pytest.mark.parametrize(
    ("limit", "later"),
    [(3, 6), (2, 4), (MAX_NEW_TOKENS // 2 + 1, MAX_NEW_TOKENS), (MAX_NEW_TOKENS - 1, MAX_NEW_TOKENS)],
)
def test_answers_at_their_limit_go_on(limit: int, later: int) -> None:
    run, ensemble = parent(LENGTH, STOP, max_new_tokens=limit), Spy()
    end = ended(LENGTH, num_tokens=limit)
    run.streams["ensemble"].events[-1] = end  # type: ignore[index]
    plan = extended(run, cast("Ensemble", ensemble))
    branch = Branch(tuple(run.streams["ensemble"].steps))
    assert plan.settings == run.settings.model_copy(update={"max_new_tokens": later})
    assert (plan.branches, list(plan.kept)) == ({"ensemble": branch}, ["member:a"])
    assert ensemble.calls == [("check_branch", branch)]


@pytest.mark.parametrize(
    ("reason", "num_tokens", "limit", "message"),
    [
        (STOP, 3, 3, "can be continued"),
        (LENGTH, 2, 3, "can be continued"),  # at a full context
        (LENGTH, MAX_NEW_TOKENS, MAX_NEW_TOKENS, "has reached the largest"),
    ],
)
def test_answers_that_cannot_go_on_are_refused(reason: FinishReason, num_tokens: int, limit: int, message: str) -> None:
    run = parent(max_new_tokens=limit)
    run.streams["ensemble"].events[-1] = ended(reason, num_tokens)  # type: ignore[index]
    with pytest.raises(RequestError, match=message):
        extended(run, cast("Ensemble", Spy()))
