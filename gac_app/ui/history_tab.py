"""The History tab: find, name, star, reopen, rerun and delete one's own conversations."""

from __future__ import annotations

from typing import get_args

from gac_app.services.runs.runs import RunService
from gac_app.settings import Mode
from gac_app.storage import SORTS, ConversationSummary, HistoryFilter, RunSummary
from gac_app.ui.assets import called, component
from gac_app.ui.compare.spelling import label_of
from gac_app.ui.requests import MAX_SEARCH_CHARS, Fields, PageFunction, Reply, same
from gac_app.ui.tabs import TabContext, opened
from gac_app.ui.words import word

PAGE_SIZE = 30  # conversations
MAX_CHOSEN = 1_000  # runs deleted at once
MODES = ("", *get_args(Mode))


def history_tab(context: TabContext) -> None:
    """The list. Its events `open` and `rerun` carry the visitor's key and the run's id."""
    with opened("history", word("tab.history"), called("history/history", "refreshHistory")):
        functions, events = history_functions(context.service), ("open", "rerun", "cleared")
        history = component("history", "history/history", events=events, functions=functions)
        context.open_in_compare(history, "open", "rerun")
        context.compare.start_afresh_on(history.cleared)


def history_functions(service: RunService) -> list[PageFunction]:
    """The functions that the script calls, by name."""

    def list_conversations(fields: Fields) -> Reply:
        # One more than a page, to know whether there is a next page.
        found = service.history.conversations(
            fields.visitor_key, _filter(fields), PAGE_SIZE + 1, fields.number("offset")
        )
        return {
            "conversations": [_conversation(item) for item in found[:PAGE_SIZE]],
            "has_more": len(found) > PAGE_SIZE,
            "members": list(service.config.member_names),
            "forgets": service.config.server.forgets and not service.config.database_url,
        }

    def name_conversation(fields: Fields) -> None:
        service.history.name_conversation(fields.visitor_key, fields.text("conversation"), fields.text("name"))

    def star_conversation(fields: Fields) -> None:
        service.history.star_conversation(fields.visitor_key, fields.text("conversation"), fields.flag("is_starred"))

    def delete_runs(fields: Fields) -> None:
        service.history.delete_runs(fields.visitor_key, fields.texts("runs", MAX_CHOSEN))

    def delete_conversation(fields: Fields) -> Reply:
        return {"runs": service.history.delete_conversation(fields.visitor_key, fields.text("conversation"))}

    def delete_all(fields: Fields) -> None:
        service.history.delete_all(fields.visitor_key)

    return [list_conversations, name_conversation, star_conversation, delete_runs, delete_conversation, delete_all]


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
        **same(conversation, "name", "is_starred", "num_runs"),
        "runs": [_row(run) for run in conversation.runs],
    }


def _row(summary: RunSummary) -> Reply:
    return {
        "id": summary.run_id,
        **same(summary, "prompt", "mode", "outcome", "excerpt", "num_tokens", "num_ensembled", "is_shared"),
        "status": str(summary.status),
        "created_at": summary.created_at.isoformat(),
        "branch_position": summary.branch_position,
        "swap": summary.swap and [label_of(token) for token in summary.swap],
    }
