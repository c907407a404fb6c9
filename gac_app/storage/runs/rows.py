"""Unseals the rows of a run with its key: values for the services, JSON for exports.

Every function raises DamagedError where part of it cannot be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from gac_app.decoding.trace import FinishReason, usage_from_json
from gac_app.storage.database.sealing import damage_named, seal, unseal, unseal_json
from gac_app.storage.database.tables import Answer, Outline, Run, Trace
from gac_app.storage.runs.records import AnswerRecord, RunStatus, StoredRun, Swap, Turn, fed_messages, stream_key
from gac_app.storage.runs.step_reader import StepReader
from gac_app.storage.runs.traces import Packed, unpack_json


def sealed_steps(key: bytes, packed: Packed) -> dict[str, Any]:
    """The rows of an answer's steps."""
    return {"trace": Trace(steps=seal(key, packed.steps)), "outline": Outline(steps=seal(key, packed.outline))}


def content_of(run: Run) -> dict[str, Any]:
    """A run's body: prompt, settings, member_names, versions, turn_ids, seeds, swap."""
    with damage_named():
        content: dict[str, Any] = unseal_json(run.key.key, run.body)
        return content


def turn_ids_of(run: Run) -> list[str]:
    """The runs that it continues."""
    with damage_named():
        turn_ids: list[str] = content_of(run)["turn_ids"]
        return turn_ids


def swap_of(content: Mapping[str, Any]) -> Swap | None:
    """The swap of a branch; None for other runs."""
    with damage_named():
        if not (swap := content.get("swap")):
            return None
        before, now = swap
        return bytes.fromhex(before), bytes.fromhex(now)


def turn_of(run: Run) -> Turn:
    with damage_named():
        texts = {_stream(answer): unseal_json(run.key.key, answer.body)["text"] for answer in run.answers}
        return Turn(run.id, content_of(run)["prompt"], texts)


def stored(run: Run, turns: Mapping[str, Turn], steps: StepReader) -> StoredRun:
    """A run. `turns`, by id, must include those that it continues."""
    content = content_of(run)
    with damage_named():
        found = _found(content, turns)
        return StoredRun(
            run_id=run.id,
            conversation_id=run.conversation_id,
            position=run.position,
            parent_run_id=run.parent_run_id,
            branch_position=run.branch_position,
            swap=swap_of(content),
            repeats_run_id=run.repeats_run_id,
            turns=found,
            num_deleted_turns=len(content["turn_ids"]) - len(found),
            prompt=content["prompt"],
            settings=content["settings"],
            member_names=tuple(content["member_names"]),
            config_hash=run.config_hash,
            versions=content["versions"],
            status=RunStatus(run.status),
            created_at=run.created_at,
            finished_at=run.finished_at,
            outcome=_outcome(run),
            is_shared=run.is_shared,
            seeds=content["seeds"],
            answers=tuple(_answer(run.key.key, answer, steps) for answer in _ordered(run, content)),
        )


def exported(run: Run, turns: Mapping[str, Turn]) -> dict[str, Any]:
    content = content_of(run)
    with damage_named():
        return {
            "run_id": run.id,
            "visitor": run.conversation.visitor.pseudonym,
            "conversation_id": run.conversation_id,
            "position": run.position,
            "parent_run_id": run.parent_run_id,
            "branch_position": run.branch_position,
            "swap": content["swap"],
            "repeats_run_id": run.repeats_run_id,
            "turn_ids": content["turn_ids"],
            "seeds": content["seeds"],
            "consent": content["consent"],
            "prompt": content["prompt"],
            "settings": content["settings"],
            "members": content["member_names"],
            "config_hash": run.config_hash,
            "versions": content["versions"],
            "status": str(RunStatus(run.status)),
            "created_at": run.created_at.isoformat(),
            "finished_at": run.finished_at and run.finished_at.isoformat(),
            "vote": run.vote and {"outcome": _outcome(run), "created_at": run.vote.created_at.isoformat()},
            "answers": [_exported_answer(run, answer, content, turns) for answer in _ordered(run, content)],
        }


def _exported_answer(run: Run, answer: Answer, content: Mapping[str, Any], turns: Mapping[str, Turn]) -> dict[str, Any]:
    body = unseal_json(run.key.key, answer.body)
    system_prompt = content["settings"].get("system_prompt", "")
    fed = fed_messages(_stream(answer), content["prompt"], system_prompt, _found(content, turns))
    return {
        "system": answer.system,
        "is_ensemble": answer.is_ensemble,
        "messages": [asdict(message) for message in fed],
        "text": body["text"],
        "num_tokens": answer.num_tokens,
        "num_ensembled": answer.num_ensembled,
        "num_replayed": body["num_replayed"],
        "ttft_s": answer.ttft_s,
        "seconds": answer.seconds,
        "finish_reason": FinishReason(answer.finish_reason).value,
        "detail": body["detail"],
        "members": body["members"],
        "digest": answer.digest,
        "is_reproducible": answer.is_reproducible,
        "steps": unpack_json(unseal(run.key.key, answer.trace.steps)) if answer.trace else [],
    }


def _found(content: Mapping[str, Any], turns: Mapping[str, Turn]) -> tuple[Turn, ...]:
    return tuple(turns[turn_id] for turn_id in content["turn_ids"] if turn_id in turns)


def _outcome(run: Run) -> str | None:
    return unseal(run.key.key, run.vote.body).decode() if run.vote else None


def _stream(answer: Answer) -> str:
    return stream_key(answer.system, answer.is_ensemble)


def _ordered(run: Run, content: Mapping[str, Any]) -> list[Answer]:
    """The ensemble's answer first, then the members' in the ensemble's order."""
    order = {name: index for index, name in enumerate(content["member_names"])}
    return sorted(run.answers, key=lambda answer: (not answer.is_ensemble, order.get(answer.system, len(order))))


def _answer(key: bytes, answer: Answer, steps: StepReader) -> AnswerRecord:
    body = unseal_json(key, answer.body)
    return AnswerRecord(
        system=answer.system,
        is_ensemble=answer.is_ensemble,
        text=body["text"],
        num_tokens=answer.num_tokens,
        num_ensembled=answer.num_ensembled,
        ttft_s=answer.ttft_s,
        seconds=answer.seconds,
        finish_reason=FinishReason(answer.finish_reason),
        detail=body["detail"],
        members=usage_from_json(body["members"]),
        events=steps.events(answer.id),
        outline=steps.outline(answer.id),
        digest=answer.digest,
        is_reproducible=answer.is_reproducible,
        num_replayed=body["num_replayed"],
    )
