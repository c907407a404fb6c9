"""The shapes of the lines of `export`: a run, a battle, or what is deleted.

Numbers are finite and bounded, texts have a limit, ids have one form. Unknown keys pass (`_OPEN`), are left out
(`_SHAPE`), or are refused (`_CLOSED`); where a shape says nothing of that, what it is a part of does. A battle passes
unchanged.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, ConfigDict, Field, Strict, with_config
from typing_extensions import TypedDict

from gac_app.arena.outcomes import MAX_COMMENT_CHARS, Origin, Outcome, Reason, Verdict
from gac_app.decoding.trace import FinishReason
from gac_app.storage import Kind, RunStatus

_MAX_COUNT = 2**31 - 1
_OUTCOMES: dict[str, tuple[str, ...]] = {Kind.VOTE: tuple(Outcome), Kind.VERDICT: tuple(Verdict)}
_SHAPE = ConfigDict(strict=True, allow_inf_nan=False)
_OPEN = ConfigDict(strict=True, allow_inf_nan=False, extra="allow")
_CLOSED = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")


def _one_of(values: type[StrEnum]) -> AfterValidator:
    known = {value.value for value in values}

    def check(value: str) -> str:
        if value not in known:
            raise ValueError(f"expected one of {', '.join(sorted(known))}")
        return value

    return AfterValidator(check)


def _is_moment(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not UTC:
            moment.astimezone(UTC)  # as it is stored
    except (OverflowError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError("expected a time with its zone, such as 2026-01-31T12:00:00+00:00")
    return text


Id = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Visitor = Annotated[str, Field(pattern=r"^\w{1,32}$")]
Text = Annotated[str, Field(max_length=4_000_000)]
Name = Annotated[str, Field(max_length=255)]
Hash = Annotated[str, Field(pattern=r"^\w{0,64}$")]
Hex = Annotated[str, Field(pattern=r"^([0-9a-f]{2})*$", max_length=2_000_000)]
Moment = Annotated[str, Field(max_length=40), AfterValidator(_is_moment)]
Count = Annotated[int, Field(ge=0, le=_MAX_COUNT)]
Seconds = Annotated[float, Field(ge=0, le=1e9)]
Versions = dict[Name, Name]


@with_config(_OPEN)
class Message(TypedDict):
    role: Literal["system", "user", "assistant"]
    content: Text


@with_config(_CLOSED)
class SideFacts(TypedDict, total=False):
    chars: Count
    headings: Count
    lists: Count
    bold: Count
    ms_per_token: Seconds
    passes_per_token: Seconds


@with_config(_OPEN)
class Facts(TypedDict, total=False):
    turn: Annotated[int, Field(ge=1, le=1000)]
    early: bool
    stopped: bool
    seconds: Seconds
    shown: dict[Literal["left", "right"], Count]
    left: SideFacts
    right: SideFacts
    flags: list[Annotated[str, Field(pattern=r"^[\w-]{1,40}$")]]


def _has_no_text(facts: Facts) -> Facts:
    """Facts are stored without encryption."""
    others = [value for name, value in facts.items() if name not in Facts.__annotations__]
    if not all(isinstance(value, bool | int | float | None) for value in others):
        raise ValueError("facts hold numbers and flags only")
    return facts


class Remark(TypedDict):
    reasons: dict[Literal["left", "right"], list[Annotated[str, _one_of(Reason)]]]
    comment: Annotated[str, Field(max_length=MAX_COMMENT_CHARS)]


class Judgement(TypedDict):
    id: Id
    position: Count
    kind: Annotated[str, _one_of(Kind)]
    outcome: Name
    facts: Annotated[Facts, AfterValidator(_has_no_text)]
    body: Remark | None
    created_at: Moment


def _follow_each_other(rows: list[Judgement]) -> list[Judgement]:
    if [row["position"] for row in rows] != list(range(len(rows))):
        raise ValueError("expected the positions 0, 1, 2 and so on")
    for row in rows:
        if row["outcome"] not in _OUTCOMES.get(row["kind"], ("",)):
            raise ValueError("a vote or a verdict has an outcome of its kind, and nothing else has one")
        if (row["kind"] == Kind.REMARK) != bool(row["body"]):
            raise ValueError("a remark, and nothing else, has a body")
    return rows


class BattleAnswer(TypedDict):
    messages: list[Message]
    text: Text
    finish_reason: NotRequired[Annotated[str, _one_of(FinishReason)]]
    num_tokens: NotRequired[Count]
    num_ensembled: NotRequired[Count]
    num_forwards: NotRequired[Count]
    seconds: NotRequired[Seconds]


class BattleTurn(TypedDict):
    prompt: Text
    shown: NotRequired[dict[Literal["left", "right"], Count]]
    left: BattleAnswer
    right: BattleAnswer


class BattleSide(TypedDict):
    contestant: Name
    member: Name | None
    settings: dict[str, Any]


class BattleSides(TypedDict):
    left: BattleSide
    right: BattleSide


@with_config(_OPEN)
class BattleBody(TypedDict):
    sides: BattleSides
    turns: Annotated[list[BattleTurn], Field(min_length=1, max_length=1000)]
    versions: NotRequired[Versions]
    consent: NotRequired[bool]


@with_config(_CLOSED)
class BattleLine(TypedDict):
    battle_id: Id
    visitor: Visitor
    origin: Annotated[str, _one_of(Origin)]
    is_blind: bool
    left: Annotated[str, Field(pattern=r"^[^\x00]{1,80}$")]  # databases take no zero bytes in columns
    right: Annotated[str, Field(pattern=r"^[^\x00]{1,80}$")]
    language: Annotated[str, Field(pattern=r"^[\w-]{0,8}$")]
    config_hash: Hash
    status: Annotated[str, Field(pattern=r"^[\w-]{1,16}$")]
    created_at: Moment
    body: BattleBody
    judgements: Annotated[list[Judgement], Field(max_length=1000), AfterValidator(_follow_each_other)]


Candidate = Annotated[tuple[int, Hex, float], Strict(False)]


class MemberStep(TypedDict):
    member: Name
    weight: float
    prob: float
    rank: Count
    top: list[Candidate]
    num_read: Count
    seconds: Seconds
    num_told: NotRequired[Count]
    missing: NotRequired[float]


class Step(TypedDict):
    text: Text
    position: Count
    token_id: Count
    token: Hex
    prob: float
    top: list[Candidate]
    gate_confidence: float
    is_ensembled: bool
    winner: Name
    members: list[MemberStep]
    spellings: NotRequired[dict[Name, list[Hex]]]
    dropped: NotRequired[list[Name]]
    is_partial: NotRequired[bool]
    is_shared: NotRequired[bool]
    evidence: NotRequired[dict[Name, float]]
    is_forced: NotRequired[bool]
    is_drafted: NotRequired[bool]
    drafted_by: NotRequired[list[Name]]
    drawn: NotRequired[Name]
    gate_choice: NotRequired[Hex]


class Usage(TypedDict):
    num_forwards: Count
    num_tokens_read: Count
    seconds: Seconds


class Answer(TypedDict):
    system: Annotated[str, Field(pattern=r"^[^\x00]{1,255}$")]
    is_ensemble: bool
    messages: list[Message]
    text: Text
    num_tokens: Count
    num_ensembled: Count
    ttft_s: Seconds
    seconds: Seconds
    finish_reason: Annotated[str, _one_of(FinishReason)]
    detail: Text
    members: dict[Name, Usage]
    digest: Hash
    is_reproducible: bool
    num_replayed: Count
    steps: Annotated[list[Step], Field(max_length=100_000)]


class RunVote(TypedDict):
    outcome: Name
    created_at: Moment


@with_config(_OPEN)
class RunSettings(TypedDict, total=False):
    system_prompt: Text


@with_config(_SHAPE)
class RunLine(TypedDict):
    run_id: Id
    visitor: Visitor
    conversation_id: Id
    position: Count
    parent_run_id: Id | None
    branch_position: Count | None
    swap: Annotated[list[Hex], Field(min_length=2, max_length=2)] | None
    repeats_run_id: Id | None
    turn_ids: Annotated[list[Id], Field(max_length=10_000)]
    seeds: dict[Name, Annotated[int, Field(ge=0, lt=2**63)]]
    prompt: Text
    settings: RunSettings
    members: list[Name]
    config_hash: Hash
    versions: Versions
    status: Annotated[str, _one_of(RunStatus)]
    created_at: Moment
    finished_at: Moment | None
    vote: RunVote | None
    answers: Annotated[list[Answer], Field(max_length=64)]


@with_config(_CLOSED)
class DamagedRun(TypedDict):
    """What an export tells of a run that cannot be read."""

    run_id: Name
    status: Literal["damaged"]


class Ids(TypedDict):
    """As releases up to 1.1 wrote them."""

    runs: list[Id]
    battles: list[Id]


@with_config(_CLOSED)
class Deletion(TypedDict):
    deleted: list[Id] | Ids
