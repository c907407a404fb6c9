"""Runs, answers, traces and votes in a database; every row belongs to one visitor."""

from gac_app.storage.records import (
    AnswerRecord,
    ConversationSummary,
    HistoryFilter,
    NewRun,
    RunStatus,
    RunSummary,
    StoredRun,
    StoredStudy,
    Turn,
)
from gac_app.storage.schema import current_revision, upgrade
from gac_app.storage.store import Store
from gac_app.storage.text import clean_text

__all__ = [
    "AnswerRecord",
    "ConversationSummary",
    "HistoryFilter",
    "NewRun",
    "RunStatus",
    "RunSummary",
    "Store",
    "StoredRun",
    "StoredStudy",
    "Turn",
    "clean_text",
    "current_revision",
    "upgrade",
]
