"""The Batch tab: many prompts at once, a table with all answers, votes in place."""

from __future__ import annotations

from collections.abc import Callable

from gac_app.config import Config
from gac_app.errors import GacError, NotFoundError, without_folders
from gac_app.services.runs.batches import MAX_PROMPTS, MAX_PROMPTS_CHARS, Batches
from gac_app.services.runs.runs import RunService, RunView
from gac_app.services.runs.views import ENSEMBLE
from gac_app.ui.assets import called, component
from gac_app.ui.compare.board import voting
from gac_app.ui.requests import Fields, PageFunction, Reply, client_here, started_by
from gac_app.ui.settings.values import changes_from
from gac_app.ui.streaming import QUIET
from gac_app.ui.tabs import TabContext, opened
from gac_app.ui.words import word

MAX_RUNS = 20  # in one reply


def batch_tab(context: TabContext) -> None:
    """The form and the table. Its event `started` carries key, prompts and settings, `open` a run's id."""
    service, batches = context.service, Batches(context.service)
    with opened("batch", word("tab.batch"), called("batch/batch", "refreshBatch")):
        functions = batch_functions(service, batches)
        batch = component("batch", "batch/batch", events=("started", "open"), functions=functions)
        batch.started(start_batch(service.config, batches), None, batch, **QUIET)
        context.open_in_compare(batch, "open")


def start_batch(config: Config, batches: Batches) -> Callable[..., str]:
    """Handles the event `started`."""

    def start(fields: Fields) -> None:
        prompts = fields.text("prompts", MAX_PROMPTS_CHARS)
        changes = changes_from(config, fields.unchecked("settings") or {})
        batches.start(fields.visitor_key, prompts, changes, client=client_here())

    return started_by(start)


def batch_functions(service: RunService, batches: Batches) -> list[PageFunction]:
    """The functions that the script calls, by name."""

    def batch_overview(fields: Fields) -> Reply:
        return {
            "members": list(service.config.member_names),
            "max_prompts": MAX_PROMPTS,
            "max_chars": MAX_PROMPTS_CHARS,
            "max_runs": MAX_RUNS,
        }

    def batch_state(fields: Fields) -> Reply:
        batch = batches.look(fields.visitor_key)
        if batch is None:
            return {"batch": None}
        rows = [
            {"run": row.run_id, "prompt": row.prompt, "is_over": row.is_over, "error": without_folders(row.error)}
            for row in batch.rows
        ]
        return {"batch": {"is_over": batch.is_over, "is_cancelled": batch.cancelled.is_set(), "rows": rows}}

    def batch_runs(fields: Fields) -> Reply:
        ids = fields.text("runs", 40 * MAX_RUNS).split()[:MAX_RUNS]
        return {"runs": [_found(service, fields.visitor_key, run_id) for run_id in ids]}

    def batch_cancel(fields: Fields) -> None:
        batches.cancel(fields.visitor_key)

    return [batch_overview, batch_state, batch_runs, batch_cancel, voting(service)]


def _found(service: RunService, visitor_key: str, run_id: str) -> Reply:
    try:
        return _run(service.history.find(visitor_key, run_id))
    except GacError as error:
        return {"id": run_id, "error": without_folders(error.user_message), "is_gone": isinstance(error, NotFoundError)}


def _run(run: RunView) -> Reply:
    answers = [
        {
            "stream": key,
            "name": "Ensemble" if key == ENSEMBLE else key.removeprefix("member:"),
            "text": stream.text,
            "reason": stream.finished.reason.value if stream.finished else "",
            "detail": stream.finished.detail if stream.finished else "",
        }
        for key, stream in run.streams.items()
    ]
    return {"id": run.id, "prompt": run.prompt, "status": run.status, "outcome": run.outcome, "answers": answers}
