"""Encrypts and decrypts the rows of a run with its key: values for the services, JSON for exports.

What reads raises DamagedError where part of a row cannot be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Engine, select

from gac_app.decoding.trace import FinishedEvent, FinishReason, usage_from_json, usage_to_json
from gac_app.errors import Phrase
from gac_app.storage.database.encryption import damage_named, decrypt, decrypt_json, encrypt, encrypt_json
from gac_app.storage.database.engine import reading
from gac_app.storage.database.tables import RunKey, utc_now
from gac_app.storage.database.visitors import existing
from gac_app.storage.runs.records import AnswerRecord, RunStatus, StoredRun, Swap, Turn, fed_messages, stream_key
from gac_app.storage.runs.tables import Answer, Outline, Run, Trace
from gac_app.storage.runs.traces import Packed, stored_events, stored_outline, unpack_json
from gac_app.storage.text import clean_text

_ENDED_WITHIN = timedelta(days=1)

# What rows, values and exports call by the same name: columns, and what is encrypted in `body`.
RUN_COLUMNS = ("conversation_id", "position", "parent_run_id", "branch_position", "repeats_run_id", "config_hash")
RUN_BODY = ("prompt", "settings", "versions", "turn_ids", "seeds", "swap")
_END_COLUMNS = ("num_tokens", "num_ensembled", "ttft_s", "seconds", "digest", "is_reproducible")
_ANSWER_COLUMNS = ("system", "is_ensemble", "finish_reason", *_END_COLUMNS)
_END_BODY = ("text", "detail", "num_replayed")
_ANSWER_BODY = ("members", *_END_BODY)


def facts_of(record: AnswerRecord) -> dict[str, Any]:
    """An answer as exports tell of it, without messages and steps."""
    end = record.finished
    return {
        "system": clean_text(record.system),
        "is_ensemble": record.is_ensemble,
        "finish_reason": end.reason,
        "members": usage_to_json(end.members),
        **{name: getattr(end, name) for name in (*_END_COLUMNS, *_END_BODY)},
    }


def answer_row(run_id: str, key: bytes, facts: Mapping[str, Any], steps: Packed) -> Answer:
    """The row of an answer with its steps. `facts`: as in exports."""
    return Answer(
        run_id=run_id,
        body=encrypt_json(key, {name: facts[name] for name in _ANSWER_BODY}),
        trace=Trace(steps=encrypt(key, steps.steps)),
        outline=Outline(steps=encrypt(key, steps.outline)),
        **{name: facts[name] for name in _ANSWER_COLUMNS},
    )


def content_of(run: Run) -> dict[str, Any]:
    """A run's body."""
    with damage_named():
        content: dict[str, Any] = decrypt_json(run.key.key, run.body)
        return content


def swap_of(content: Mapping[str, Any]) -> Swap | None:
    """The swap of a branch; None for other runs."""
    with damage_named():
        if not (swap := content.get("swap")):
            return None
        before, now = swap
        return bytes.fromhex(before), bytes.fromhex(now)


def turn_of(run: Run) -> Turn:
    with damage_named():
        texts = {_stream(answer): decrypt_json(run.key.key, answer.body)["text"] for answer in run.answers}
        reasons = {_stream(answer): FinishReason(answer.finish_reason) for answer in run.answers}
        return Turn(run.id, content_of(run)["prompt"], texts, without_ends(reasons))


def without_ends(reasons: Mapping[str, FinishReason]) -> dict[str, FinishReason]:
    """Those of answers that did not end by themselves."""
    return {stream: reason for stream, reason in reasons.items() if reason is not FinishReason.STOP}


def status_of(status: str, created_at: datetime) -> RunStatus:
    """A run's status as stored; one that nobody has ended within a day is interrupted: its server never came back."""
    is_left = status == RunStatus.RUNNING and created_at < utc_now() - _ENDED_WITHIN
    return RunStatus.INTERRUPTED if is_left else RunStatus(status)


def stored(run: Run, turns: Mapping[str, Turn], engine: Engine) -> StoredRun:
    """A run. `turns`, by id, must include those that it continues. `engine` reads steps that are looked at."""
    content = content_of(run)
    with damage_named():
        return StoredRun(
            run_id=run.id,
            swap=swap_of(content),
            turns=_found(content, turns),
            turn_ids=tuple(content["turn_ids"]),
            shares_turns=bool(content.get("shares_turns")),
            member_names=tuple(content["member_names"]),
            status=status_of(run.status, run.created_at),
            created_at=run.created_at,
            finished_at=run.finished_at,
            outcome=outcome_of(run),
            is_shared=run.is_shared,
            answers=tuple(_record(run, answer, engine) for answer in _ordered(run, content)),
            **{name: getattr(run, name) for name in RUN_COLUMNS},
            **{name: content[name] for name in ("prompt", "settings", "versions", "seeds")},
        )


def exported(run: Run, turns: Mapping[str, Turn]) -> dict[str, Any]:
    """A run as exports tell of it."""
    content = content_of(run)
    with damage_named():
        return {
            "run_id": run.id,
            "visitor": run.conversation.visitor.pseudonym,
            **{name: getattr(run, name) for name in RUN_COLUMNS},
            **{name: content[name] for name in RUN_BODY},
            "members": content["member_names"],
            "status": str(status_of(run.status, run.created_at)),
            "created_at": run.created_at.isoformat(),
            "finished_at": run.finished_at and run.finished_at.isoformat(),
            "vote": run.vote and {"outcome": outcome_of(run), "created_at": run.vote.created_at.isoformat()},
            "answers": [_exported_answer(run, answer, content, turns) for answer in _ordered(run, content)],
        }


def _exported_answer(run: Run, answer: Answer, content: Mapping[str, Any], turns: Mapping[str, Turn]) -> dict[str, Any]:
    system_prompt = content["settings"].get("system_prompt", "")
    fed = fed_messages(_stream(answer), content["prompt"], system_prompt, _found(content, turns))
    return {
        **_facts(run, answer),
        "messages": [asdict(message) for message in fed],
        "steps": unpack_json(decrypt(run.key.key, answer.trace.steps)) if answer.trace else [],
    }


def _record(run: Run, answer: Answer, engine: Engine) -> AnswerRecord:
    facts = _facts(run, answer)
    return AnswerRecord(
        system=answer.system,
        is_ensemble=answer.is_ensemble,
        finished=FinishedEvent(
            reason=facts["finish_reason"],
            members=usage_from_json(facts["members"]),
            **{name: facts[name] for name in (*_END_COLUMNS, *_END_BODY)},
        ),
        events=stored_events(partial(_steps_of, engine, Trace, answer.id)),  # read when they are looked at
        outline=stored_outline(partial(_steps_of, engine, Outline, answer.id)),
    )


def _steps_of(engine: Engine, table: type[Trace | Outline], answer_id: str) -> bytes:
    """What is packed of an answer's steps. A run that was deleted meanwhile is missing: NotFoundError."""
    query = (
        select(RunKey.key, table.steps)
        .select_from(Answer)
        .join(Run)
        .outerjoin(RunKey, RunKey.id == Run.key_id)
        .join(table, table.answer_id == Answer.id)
        .where(Answer.id == answer_id)
    )
    with reading(engine) as session:
        found = session.execute(query).one_or_none()
    return decrypt(*existing(found, Phrase("No such run.")))


def _facts(run: Run, answer: Answer) -> dict[str, Any]:
    """As `facts_of`."""
    body = decrypt_json(run.key.key, answer.body)
    facts = {name: getattr(answer, name) for name in _ANSWER_COLUMNS} | {name: body[name] for name in _ANSWER_BODY}
    return facts | {"finish_reason": FinishReason(answer.finish_reason)}


def _found(content: Mapping[str, Any], turns: Mapping[str, Turn]) -> tuple[Turn, ...]:
    return tuple(turns[turn_id] for turn_id in content["turn_ids"] if turn_id in turns)


def outcome_of(run: Run) -> str | None:
    return decrypt(run.key.key, run.vote.body).decode() if run.vote else None


def _stream(answer: Answer) -> str:
    return stream_key(answer.system, answer.is_ensemble)


def _ordered(run: Run, content: Mapping[str, Any]) -> list[Answer]:
    """The ensemble's answer first, then the members' in the ensemble's order."""
    order = {name: index for index, name in enumerate(content["member_names"])}
    return sorted(run.answers, key=lambda answer: (not answer.is_ensemble, order.get(answer.system, len(order))))
