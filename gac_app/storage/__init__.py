"""Runs, answers, traces, votes and battles in a database; every row belongs to one visitor."""

from gac_app.storage.battles.changes import ANSWERED, CONTINUING
from gac_app.storage.battles.records import CastVote, Kind, NewBattle, NewJudgement, StoredBattle
from gac_app.storage.database.schema import current_revision, upgrade
from gac_app.storage.database.worker import Worker
from gac_app.storage.runs.history import SORTS
from gac_app.storage.runs.records import (
    BESIDE,
    ENSEMBLE,
    AnswerRecord,
    ConversationSummary,
    HistoryFilter,
    NewRun,
    RunStatus,
    RunSummary,
    StoredRun,
    Swap,
    Turn,
    fed_messages,
    stream_key,
)
from gac_app.storage.runs.rows import without_ends
from gac_app.storage.runs.traces import LazySequence
from gac_app.storage.store import Store
from gac_app.storage.studies import StoredStudy
from gac_app.storage.text import clean_text

__all__ = [
    "ANSWERED",
    "BESIDE",
    "CONTINUING",
    "ENSEMBLE",
    "SORTS",
    "AnswerRecord",
    "CastVote",
    "ConversationSummary",
    "HistoryFilter",
    "Kind",
    "LazySequence",
    "NewBattle",
    "NewJudgement",
    "NewRun",
    "RunStatus",
    "RunSummary",
    "Store",
    "StoredBattle",
    "StoredRun",
    "StoredStudy",
    "Swap",
    "Turn",
    "Worker",
    "clean_text",
    "current_revision",
    "fed_messages",
    "stream_key",
    "upgrade",
    "without_ends",
]
