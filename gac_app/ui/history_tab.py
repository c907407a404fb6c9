"""The History tab: find, name, star, reopen, rerun and delete one's own conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import gradio as gr

from gac_app.settings import Mode
from gac_app.storage import SORTS, HistoryFilter
from gac_app.ui.assets import component
from gac_app.ui.compare.spelling import label_of
from gac_app.ui.requests import MAX_SEARCH_CHARS, Fields, Reply, replying

if TYPE_CHECKING:
    from gac_app.services.runs.runs import RunService
    from gac_app.storage import ConversationSummary, RunSummary

PAGE_SIZE = 30  # conversations
MAX_CHOSEN = 1_000  # runs deleted at once
MODES = ("", *get_args(Mode))


def build_history(service: RunService) -> gr.HTML:
    """The list. Its events `open` and `rerun` carry the visitor's key and the run's id."""

    @replying
    def list_conversations(fields: Fields) -> Reply:
        # One more than a page, to know whether there is a next page.
        found = service.history.conversations(
            fields.visitor_key, _filter(fields), PAGE_SIZE + 1, fields.number("offset")
        )
        return {
            "conversations": [_conversation(item) for item in found[:PAGE_SIZE]],
            "has_more": len(found) > PAGE_SIZE,
            "members": list(service.config.member_names),
        }

    @replying
    def name_conversation(fields: Fields) -> Reply:
        service.history.name_conversation(fields.visitor_key, fields.text("conversation"), fields.text("name"))
        return {}

    @replying
    def star_conversation(fields: Fields) -> Reply:
        service.history.star_conversation(fields.visitor_key, fields.text("conversation"), fields.flag("is_starred"))
        return {}

    @replying
    def delete_runs(fields: Fields) -> Reply:
        service.history.delete_runs(fields.visitor_key, fields.texts("runs", MAX_CHOSEN))
        return {}

    @replying
    def delete_conversation(fields: Fields) -> Reply:
        service.history.delete_conversation(fields.visitor_key, fields.text("conversation"))
        return {}

    @replying
    def delete_all(fields: Fields) -> Reply:
        service.history.delete_all(fields.visitor_key)
        return {}

    functions = (list_conversations, name_conversation, star_conversation, delete_runs, delete_conversation, delete_all)
    return component("history", "dialog", "history_filters", "history_rows", "history", functions=functions)


def _filter(fields: Fields) -> HistoryFilter:
    return HistoryFilter(
        search=fields.text("search", MAX_SEARCH_CHARS),
        outcome=fields.text("outcome"),
        mode=fields.choice("mode", MODES),
        member=fields.text("member"),
        since=fields.time("since"),
        before=fields.time("before"),
        is_starred=fields.flag("is_starred"),
        sort=fields.choice("sort", SORTS),
    )


def _conversation(conversation: ConversationSummary) -> Reply:
    return {
        "id": conversation.conversation_id,
        "name": conversation.name,
        "is_starred": conversation.is_starred,
        "num_runs": conversation.num_runs,
        "runs": [_row(run) for run in conversation.runs],
    }


def _row(summary: RunSummary) -> Reply:
    return {
        "id": summary.run_id,
        "prompt": summary.prompt,
        "status": str(summary.status),
        "mode": summary.mode,
        "created_at": summary.created_at.isoformat(),
        "outcome": summary.outcome,
        "num_tokens": summary.num_tokens,
        "num_ensembled": summary.num_ensembled,
        "branch_position": summary.branch_position,
        "swap": summary.swap and [label_of(token) for token in summary.swap],
        "is_shared": summary.is_shared,
    }
