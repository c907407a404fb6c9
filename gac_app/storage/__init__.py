"""Runs, answers, traces, votes and battles in a database; every row belongs to one visitor."""

from gac_app.storage.battles.changes import LET_GO
from gac_app.storage.battles.records import (
    CastVote,
    JudgedBattle,
    NewBattle,
    NewJudgement,
    StoredBattle,
    VoteNews,
    VoteRow,
)
from gac_app.storage.database.database import DeletedIds
from gac_app.storage.database.schema import current_revision, upgrade
from gac_app.storage.runs.history_records import ConversationSummary, HistoryFilter, RunSummary
from gac_app.storage.runs.records import AnswerRecord, Imported, NewRun, RunStatus, StoredRun, Turn
from gac_app.storage.store import Store
from gac_app.storage.studies import StoredStudy
from gac_app.storage.text import clean_text

__all__ = [
    "LET_GO",
    "AnswerRecord",
    "CastVote",
    "ConversationSummary",
    "DeletedIds",
    "HistoryFilter",
    "Imported",
    "JudgedBattle",
    "NewBattle",
    "NewJudgement",
    "NewRun",
    "RunStatus",
    "RunSummary",
    "Store",
    "StoredBattle",
    "StoredRun",
    "StoredStudy",
    "Turn",
    "VoteNews",
    "VoteRow",
    "clean_text",
    "current_revision",
    "upgrade",
]
