"""A visitor's history: conversations, filtered, sorted, a page at a time.

Texts, modes, members and votes are encrypted, so a filter by these decrypts run after run, and a search also their
answers. Otherwise a page is chosen by plain columns, and only its own runs are decrypted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, Select, and_, func, select
from sqlalchemy.orm import Session, aliased

from gac_app.errors import DamagedError
from gac_app.storage.database.encryption import damage_named, decrypt, decrypt_json, unless_damaged
from gac_app.storage.database.tables import RunKey
from gac_app.storage.runs.queries import owned
from gac_app.storage.runs.records import ConversationSummary, HistoryFilter, RunStatus, RunSummary
from gac_app.storage.runs.rows import status_of, swap_of
from gac_app.storage.runs.tables import Answer, Conversation, Run, Vote
from gac_app.storage.text import folded

_BATCH = 200
EXCERPT_CHARS = 160
_NameKey = aliased(RunKey)
_AT_HAND = (
    *(Run.id, Run.conversation_id, Run.created_at),
    func.coalesce(Answer.num_tokens, 0).label("num_tokens"),
    func.coalesce(Answer.num_ensembled, 0).label("num_ensembled"),
)
_SAME = ("conversation_id", "position", "created_at", "branch_position", "is_shared", "num_answers")
_Row = Row[*tuple[Any, ...]]


def list_conversations(
    session: Session, visitor_key: str, wanted: HistoryFilter, limit: int = 30, offset: int = 0
) -> list[ConversationSummary]:
    """A visitor's conversations with matching runs, and these runs, including damaged ones."""
    chosen = _chosen(visitor_key, wanted)
    groups: defaultdict[str, list[_Row]] = defaultdict(list)
    plain = chosen.with_only_columns(*_AT_HAND)
    for run in _found(session, _runs(chosen), wanted) if wanted.looks_inside else session.execute(plain):
        groups[run.conversation_id].append(run)
    key, is_falling = _SORTS[wanted.sort]
    page = sorted(groups, key=lambda group: key(groups[group]), reverse=is_falling)[offset : offset + limit]
    ids = [run.id for conversation_id in page for run in groups[conversation_id]]
    rows = {row.id: row for row in session.execute(_runs(_joined(visitor_key).where(Run.id.in_(ids))))}
    counts, excerpts = _counts(session, page), _excerpts(session, list(rows.values()))
    listed = [(one, [(_summary(rows[run.id]), rows[run.id]) for run in groups[one] if run.id in rows]) for one in page]
    return [_conversation(group, counts[one], excerpts) for one, group in listed if group]


def _chosen(visitor_key: str, wanted: HistoryFilter) -> Select[Run]:
    """A visitor's runs that match as far as their columns tell, in their conversations' order."""
    query = _joined(visitor_key).order_by(Run.conversation_id, Run.position)
    if wanted.since:
        query = query.where(Run.created_at >= wanted.since)
    if wanted.before:
        query = query.where(Run.created_at < wanted.before)
    if wanted.is_starred:
        query = query.where(Conversation.is_starred)
    return query


def _joined(visitor_key: str) -> Select[Run]:
    return owned(visitor_key).outerjoin(Answer, and_(Answer.run_id == Run.id, Answer.is_ensemble)).outerjoin(Vote)


def _share(runs: Sequence[_Row]) -> float:
    num_tokens = sum(run.num_tokens for run in runs)
    return sum(run.num_ensembled for run in runs) / num_tokens if num_tokens else 0.0


# Sort key of a conversation's runs, and whether the largest comes first.
_SORTS: dict[str, tuple[Callable[[Sequence[_Row]], Any], bool]] = {
    "newest": (lambda runs: runs[-1].created_at, True),
    "oldest": (lambda runs: runs[0].created_at, False),
    "longest": (lambda runs: sum(run.num_tokens for run in runs), True),
    "most-ensembled": (_share, True),
}
SORTS = tuple(_SORTS)


def _runs(query: Select[Run]) -> Select[*tuple[Any, ...]]:
    num_answers = select(func.count(Answer.id)).where(Answer.run_id == Run.id).correlate(Run).scalar_subquery()
    return (
        query.outerjoin(Run.key)
        .outerjoin(_NameKey, _NameKey.id == Conversation.key_id)
        .with_only_columns(
            *_AT_HAND,
            *(Run.position, Run.body, Run.status, Run.branch_position, Run.is_shared),
            *(RunKey.key, Vote.body.label("vote"), num_answers.label("num_answers")),
            *(Conversation.name, Conversation.is_starred, _NameKey.key.label("name_key")),
        )
    )


def _found(session: Session, query: Select[*tuple[Any, ...]], wanted: HistoryFilter) -> Iterator[_Row]:
    sought = folded(wanted.search)
    for rows in session.execute(query).partitions(_BATCH):
        pairs = [(summary, row) for row in rows if wanted.matches(summary := _summary(row))]
        if sought:
            pairs = _saying(session, pairs, sought)
        yield from (row for _, row in pairs)


def _saying(session: Session, pairs: Sequence[tuple[RunSummary, _Row]], sought: str) -> list[tuple[RunSummary, _Row]]:
    """The runs whose prompt, answers or conversation name contain the text."""
    at_hand = {s.run_id for s, row in pairs if sought in folded(s.prompt) or sought in folded(_name(row))}
    keys = {summary.run_id: row.key for summary, row in pairs if summary.run_id not in at_hand}
    answers = session.execute(select(Answer.run_id, Answer.body).where(Answer.run_id.in_(keys)))
    saying = at_hand | {run_id for run_id, body in answers if sought in folded(_text(keys[run_id], body))}
    return [pair for pair in pairs if pair[0].run_id in saying]


def _text(key: bytes, body: bytes) -> str:
    return unless_damaged(lambda: str(decrypt_json(key, body)["text"]), "")


def _name(row: _Row) -> str:
    return unless_damaged(lambda: decrypt(row.name_key, row.name).decode() if row.name else "", "")


def _summary(row: _Row) -> RunSummary:
    content, outcome, status = {}, None, RunStatus.DAMAGED
    try:
        with damage_named():
            outcome = None if row.vote is None else decrypt(row.key, row.vote).decode()
            content = decrypt_json(row.key, row.body)
            content["prompt"], status = str(content["prompt"]), status_of(row.status, row.created_at)
    except DamagedError:
        content = {}  # damaged runs are listed too, so that they can be deleted
    return RunSummary(
        run_id=row.id,
        prompt=content.get("prompt", ""),
        settings=content.get("settings", {}),
        member_names=tuple(content.get("member_names", ())),
        status=status,
        outcome=outcome,
        num_tokens=row.num_tokens,
        num_ensembled=row.num_ensembled,
        swap=swap_of(content),
        **{name: getattr(row, name) for name in _SAME},
    )


def _excerpts(session: Session, rows: Sequence[_Row]) -> dict[str, str]:
    """How the ensemble's answers of runs begin."""
    keys = {row.id: row.key for row in rows}
    query = select(Answer.run_id, Answer.body).where(Answer.run_id.in_(keys), Answer.is_ensemble)
    return {run_id: _beginning(_text(keys[run_id], body)) for run_id, body in session.execute(query)}


def _beginning(text: str) -> str:
    words = " ".join(text[:EXCERPT_CHARS].split())
    return f"{words}…" if len(text) > EXCERPT_CHARS else words


def _conversation(
    group: Sequence[tuple[RunSummary, _Row]], num_runs: int, excerpts: Mapping[str, str]
) -> ConversationSummary:
    (first, row), runs = group[0], tuple(replace(one, excerpt=excerpts.get(one.run_id, "")) for one, _ in group)
    return ConversationSummary(
        conversation_id=first.conversation_id, name=_name(row), is_starred=row.is_starred, runs=runs, num_runs=num_runs
    )


def _counts(session: Session, conversation_ids: Sequence[str]) -> dict[str, int]:
    """The total number of runs of each conversation."""
    query = select(Run.conversation_id, func.count(Run.id)).where(Run.conversation_id.in_(conversation_ids))
    return {row[0]: row[1] for row in session.execute(query.group_by(Run.conversation_id))}
