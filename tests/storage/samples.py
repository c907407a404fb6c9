"""Runs and answers to store, told apart by what a test gives."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from gac_app.decoding import trace
from gac_app.decoding.trace import FinishedEvent, FinishReason, MemberUsage, TokenEvent
from gac_app.storage import AnswerRecord, ConversationSummary, HistoryFilter, NewRun, RunStatus, RunSummary, Store

ALICE = "alice-0123456789abcdef"
BOB = "bob-0123456789abcdef"
MEMBERS = ("Smol", "Gemma")


def new_id() -> str:
    return uuid.uuid4().hex


def new_run(prompt: str = "Why is the sky blue?", visitor_key: str = ALICE, **changes: Any) -> NewRun:
    run = NewRun(
        run_id=new_id(), visitor_key=visitor_key, conversation_id=new_id(), prompt=prompt, member_names=MEMBERS,
        settings={"mode": "gate", "seed": 7, "stop": ["\n\n"]}, config_hash="c0ffee", versions={"torch": "2.9"},
    )  # fmt: skip
    return replace(run, **changes)


def token_event(text: str = "Blue", position: int = 0, *, is_ensembled: bool = True) -> TokenEvent:
    token = text.encode("utf-8", "surrogatepass")
    top = (trace.Candidate(17, token, 0.75), trace.Candidate(3, b"", 0.125))
    taking_part = MEMBERS if is_ensembled else MEMBERS[:1]
    traces = tuple(trace.MemberTrace(name, 1 / len(taking_part), 0.75, 1, top, 4, 0.015625) for name in taking_part)
    spelling: dict[str, tuple[bytes, ...]] = {"Gemma": (token[:1], token[1:])}
    step = trace.StepTrace(position, 17, token, 0.75, top, 0.375, is_ensembled, "Smol", traces, spelling, ("Third",))
    return TokenEvent(text, step)


def answer(
    text: str = "Blue", system: str = "ensemble", *, events: Sequence[TokenEvent] = (), **changes: Any
) -> AnswerRecord:
    """`changes` are of how it finished."""
    usage = {"Smol": MemberUsage(2, 9, 0.5), "Gemma": MemberUsage(1, 8, 0.25)}
    end = FinishedEvent(FinishReason.STOP, text, 2, 1, 0.25, 1.5, usage, "", "3f9a2c8100000000", True)
    events = events or (token_event(text), token_event("", 1, is_ensembled=False))
    finished = replace(end, **changes)
    return AnswerRecord(system=system, is_ensemble=system == "ensemble", finished=finished, events=events)


def summary(**changes: Any) -> RunSummary:
    line = RunSummary(
        run_id="r1", conversation_id="c1", prompt="Why?", settings={"mode": "gate"}, member_names=("a", "b"),
        status=RunStatus.FINISHED, position=0, created_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), outcome="tie",
        is_shared=True, num_answers=3, excerpt="Because", num_tokens=20, num_ensembled=7, branch_position=4,
        swap=(b" x", b"y\n"),
    )  # fmt: skip
    return replace(line, **changes)


def listed(store: Store, visitor_key: str = ALICE, search: str = "") -> list[RunSummary]:
    """A visitor's runs in the history, newest first."""
    return newest_first(store.list_conversations(visitor_key, HistoryFilter(search=search), limit=100_000))


def newest_first(conversations: list[ConversationSummary]) -> list[RunSummary]:
    runs = [run for conversation in conversations for run in conversation.runs]
    return sorted(runs, key=lambda run: (run.created_at, run.position), reverse=True)
