"""Runs, answers, traces and votes in a database; every row belongs to one visitor."""

from gac_app.storage.records import AnswerRecord, NewRun, RunStatus, RunSummary, StoredRun, Turn
from gac_app.storage.schema import current_revision, upgrade
from gac_app.storage.store import Store
from gac_app.storage.text import clean_text

__all__ = [
    "AnswerRecord",
    "NewRun",
    "RunStatus",
    "RunSummary",
    "Store",
    "StoredRun",
    "Turn",
    "clean_text",
    "current_revision",
    "upgrade",
]
