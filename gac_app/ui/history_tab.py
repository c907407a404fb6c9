"""The History tab: a visitor's own runs, found, reopened, run again, deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from gac_app.ui.assets import markup_of, script_of
from gac_app.ui.requests import MAX_SEARCH_CHARS, Fields, Reply, replying

if TYPE_CHECKING:
    from gac_app.services.runs import RunService
    from gac_app.storage.records import RunSummary

PAGE_SIZE = 30


def build_history(service: RunService) -> gr.HTML:
    """The list. Its events `open` and `rerun` carry the visitor's key and the run's id."""

    @replying
    def list_runs(fields: Fields) -> Reply:
        search, offset = fields.text("search", MAX_SEARCH_CHARS), fields.number("offset")
        # One more than a page tells whether there is a next page.
        rows = service.history(fields.visitor_key, search=search, limit=PAGE_SIZE + 1, offset=offset)
        return {"runs": [_row(row) for row in rows[:PAGE_SIZE]], "has_more": len(rows) > PAGE_SIZE}

    @replying
    def delete_run(fields: Fields) -> Reply:
        service.delete_run(fields.visitor_key, fields.text("run"))
        return {}

    @replying
    def delete_all(fields: Fields) -> Reply:
        service.delete_all(fields.visitor_key)
        return {}

    return gr.HTML(
        value="",
        html_template=markup_of("history"),
        js_on_load=script_of("core", "history"),
        server_functions=[list_runs, delete_run, delete_all],
        apply_default_css=False,
        elem_id="gac-history",
    )


def _row(summary: RunSummary) -> Reply:
    return {
        "id": summary.run_id,
        "prompt": summary.prompt,
        "status": str(summary.status),
        "created_at": summary.created_at.isoformat(),
        "outcome": summary.outcome,
        "num_tokens": summary.num_tokens,
        "num_ensembled": summary.num_ensembled,
        "branch_position": summary.branch_position,
    }
