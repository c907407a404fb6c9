"""A run as it is seen, beside the one before, and runs that take its place, by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.loop import Branch
from gac_app.decoding.trace.events import FinishedEvent, FinishReason, StepOutline, TokenEvent
from gac_app.decoding.trace.serialise import outline_from_json, outline_to_json
from gac_app.errors import RequestError
from gac_app.models.message import Message
from gac_app.services.runs.comparison import Comparison, compare, compare_streams
from gac_app.services.runs.live_run import LiveRun, RunPlan
from gac_app.services.runs.revisions import extended, regenerated
from gac_app.services.runs.views import RunView, StreamView, run_status
from gac_app.settings import MAX_NEW_TOKENS, Settings
from gac_app.storage import RunStatus, Turn
from tests.services.house import end_of
from tests.ui.planted import planted_step
from tests.ui.spy import Spy

PIECES = ("The", " sky", " is", " blue", "")


def events(pieces: Sequence[str] = PIECES) -> list[TokenEvent]:
    return [TokenEvent(piece, planted_step(position, piece)) for position, piece in enumerate(pieces)]


def said(pieces: Sequence[str] = PIECES) -> list[StepOutline]:
    return list(map(StepOutline.of, events(pieces)))


def moved(steps: list[StepOutline], position: int, **by: float) -> list[StepOutline]:
    """The same with other probabilities at one position."""
    step = steps[position]
    changed = step._replace(**{name: getattr(step, name) + amount for name, amount in by.items()})
    return [*steps[:position], changed, *steps[position + 1 :]]


def stored(steps: list[StepOutline]) -> list[StepOutline]:
    return [outline_from_json(outline_to_json(step)) for step in steps]


OTHER = ("The", " sky", " was", " grey", "")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (said(), said(OTHER), (2, (b" is", b" was"), None, 0.0)),
        (said(), said(PIECES[:1]), (1, (b" sky", None), None, 0.0)),
        (said(PIECES[:4]), said(), (4, (None, b""), None, 0.0)),
        ([], [], (0, None, None, 0.0)),
        (said(), moved(moved(said(), 3, prob=0.0003), 4, gate_confidence=-0.0001), (5, None, 3, 0.0003)),
        (said(), moved(said(), 1, gate_confidence=0.25), (5, None, 1, 0.25)),
        (said(), moved(said(OTHER), 1, prob=0.01), (2, (b" is", b" was"), 1, 0.01)),
        (said(), moved(said(OTHER), 3, prob=0.01), (2, (b" is", b" was"), None, 0.0)),
        # Digits that storage drops are no difference.
        (stored(moved(said(), 2, prob=1e-9)), moved(said(), 2, prob=1e-9), (5, None, None, 0.0)),
        (moved(said(), 2, prob=1e-9), stored(said()), (5, None, None, 0.0)),
    ],
)
def test_answers_are_compared_token_by_token(old: list[StepOutline], new: list[StepOutline], expected: Any) -> None:
    num_same, tokens, probs_from, most = expected
    found = compare(old, new, "1f", "2e")
    assert found == Comparison("different", num_same, tokens, probs_from, pytest.approx(most))
    for digests in (("", "2e"), ("1f", ""), ("", "")):
        assert compare(old, new, *digests).digests == "unknown"


def stream(tokens: list[TokenEvent], digest: str = "1f", prompt: str = "Why?", *, is_over: bool = True) -> StreamView:
    end = FinishedEvent(FinishReason.STOP, "", len(tokens), 0, 0.0, 0.0, {}, digest=digest)
    return StreamView("a", (Message("user", prompt),), [*tokens, end] if is_over else tokens)


def test_ended_answers_to_equal_messages_are_compared() -> None:
    assert compare_streams(stream(events()), stream(events())) == Comparison("equal", len(PIECES))
    assert compare_streams(stream(events(), is_over=False), stream(events())) is None
    assert compare_streams(stream(events()), stream(events(), is_over=False)) is None
    assert compare_streams(stream([], ""), stream(events())) is None
    assert compare_streams(stream(events()), stream([])) is None
    assert compare_streams(stream(events()), stream(events(), prompt="Why not?")) is None
    whole, continued = stream(events()), stream(events(), "2e")
    continued.events[-1] = replace(end_of(continued), num_replayed=2)  # type: ignore[index]
    for pair in ((whole, continued), (continued, whole)):
        assert compare_streams(*pair) == Comparison("unknown", len(PIECES)), "its digest is another"


class Unread(Sequence[Any]):
    """Events or steps that nobody may look at."""

    def __len__(self) -> int:
        raise AssertionError("looked at")

    __getitem__ = __len__  # type: ignore[assignment]


@pytest.mark.parametrize(("digest", "digests"), [("1f", "equal"), ("2e", "different")])
def test_stored_answers_are_compared_without_their_steps(digest: str, digests: str) -> None:
    """Equal digests settle it; if they differ, outlines are enough."""
    before, now = stream(events()), stream(events(), digest)
    before.events, before.stored = Unread(), (end_of(before), Unread() if digests == "equal" else stored(said()))
    assert compare_streams(before, now) == Comparison(digests, len(PIECES))  # type: ignore[arg-type]


def finish(reason: FinishReason, num_tokens: int = len(PIECES), detail: str = "") -> FinishedEvent:
    return FinishedEvent(reason, "".join(PIECES), num_tokens, 0, 0.1, 0.5, {}, detail)


def answered(reason: FinishReason | None) -> StreamView:
    return StreamView("a", events=[*events(), *([finish(reason)] if reason else [])])


STOP, LENGTH, ABORT, ERROR = FinishReason.STOP, FinishReason.LENGTH, FinishReason.ABORT, FinishReason.ERROR
CUT = "the limit of 3 new tokens"


@pytest.mark.parametrize(("reasons", "status"), [
    ([STOP, LENGTH], RunStatus.FINISHED), ([STOP, ERROR], RunStatus.FINISHED), ([ERROR, STOP], RunStatus.FAILED),
    ([None, STOP], RunStatus.FAILED), ([STOP, None], RunStatus.FINISHED), ([STOP, ABORT], RunStatus.ABORTED),
    ([ERROR, ABORT], RunStatus.ABORTED),
])  # fmt: skip
def test_the_status_of_a_run(reasons: list[FinishReason | None], status: RunStatus) -> None:
    assert run_status([answered(reason) for reason in reasons]) is status


def parent(ensemble: FinishReason = STOP, alone: FinishReason = STOP, **settings: Any) -> RunView:
    asked = Settings(**{"max_new_tokens": 3, "seed": 9, **settings})
    turns = (Turn("r0", "One?", {}),)
    plan = RunPlan(prompt="Why?", settings=asked, conversation_id="c1", turns=turns, seeds={"ensemble": 4})
    run = LiveRun(plan, owner="ann", keys=["ensemble", "member:a"], member_names=("a", "b"))
    run.streams["ensemble"].events += answered(ensemble).events
    run.streams["member:a"].events += answered(alone).events
    return run


def test_after_the_largest_seed_comes_the_first() -> None:
    assert regenerated(parent(seed=2**63 - 1), "member:a", []).seeds["member:a"] == 0
    assert regenerated(parent(seed=2**63 - 2), "member:a", []).seeds["member:a"] == 2**63 - 1
    with pytest.raises(RequestError, match="expected one of ensemble, member:a"):
        regenerated(parent(), "member:b", [])


@pytest.mark.parametrize(
    ("limit", "later"),
    [(3, 6), (2, 4), (MAX_NEW_TOKENS // 2 + 1, MAX_NEW_TOKENS), (MAX_NEW_TOKENS - 1, MAX_NEW_TOKENS)],
)
def test_answers_at_their_limit_go_on(limit: int, later: int) -> None:
    run, ensemble = parent(LENGTH, STOP, max_new_tokens=limit), Spy()
    end = finish(LENGTH, limit, CUT)
    run.streams["ensemble"].events[-1] = end  # type: ignore[index]
    plan = extended(run, cast("Ensemble", ensemble))
    branch = Branch(tuple(run.streams["ensemble"].steps))
    assert plan.settings == run.settings.model_copy(update={"max_new_tokens": later})
    assert (plan.branches, list(plan.kept)) == ({"ensemble": branch}, ["member:a"])
    assert ensemble.calls == [("check_branch", branch)]


@pytest.mark.parametrize(
    ("reason", "detail", "limit", "message"),
    [
        (STOP, "", 3, "can be continued"),
        (LENGTH, "the context of a is full (3 tokens)", 3, "can be continued"),
        (LENGTH, CUT, MAX_NEW_TOKENS, "has reached the largest"),
    ],
)
def test_answers_that_cannot_go_on_are_refused(reason: FinishReason, detail: str, limit: int, message: str) -> None:
    run = parent(max_new_tokens=limit)
    run.streams["ensemble"].events[-1] = finish(reason, limit, detail)  # type: ignore[index]
    with pytest.raises(RequestError, match=message):
        extended(run, cast("Ensemble", Spy()))
