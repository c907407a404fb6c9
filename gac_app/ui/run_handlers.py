"""The event handlers that put a run on the board: a prompt, a branch, a rerun, a stored run."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.context import LocalContext

from gac_app.config import MAX_PROMPT_CHARS
from gac_app.errors import GacError, NotFoundError, RequestError, without_folders
from gac_app.services.shares import client_of
from gac_app.services.views import ENSEMBLE, is_over
from gac_app.ui.records import RunLines
from gac_app.ui.requests import IS_HEARD, Fields, visitor_key_of
from gac_app.ui.settings_panel import changes_from

if TYPE_CHECKING:
    from gac_app.services.runs import RunService, RunView

PERIOD_S = 1 / 16  # between two updates of the board
SAVE_PATIENCE_S = 3.0  # how long a finished run waits to learn whether it was stored
MAX_TURNS_SHOWN = 50

# Values for the board, the earlier turns, the conversation id, the prompt box and the notice.
Updates = tuple[Any, Any, Any, Any, Any]


class RunHandlers:
    """Gradio event handlers over a `RunService`; every one gives `Updates`, errors become a notice."""

    def __init__(self, service: RunService) -> None:
        self._service = service

    async def run(
        self, key: object, conversation_id: str | None, prompt: object, *settings: object
    ) -> AsyncIterator[Updates]:
        """Answer a prompt with the settings of the side panel, in the order of its components."""

        client = _client()

        def start() -> tuple[str, RunView]:
            visitor_key = visitor_key_of(key)
            if not isinstance(prompt, str) or len(prompt) > MAX_PROMPT_CHARS:
                raise RequestError("prompt", f"has to be text of at most {MAX_PROMPT_CHARS:,} characters")
            changes = changes_from(self._service.config, settings)
            return visitor_key, self._service.start(visitor_key, prompt, changes, conversation_id, client=client)

        async for updates in self._stream(start):
            yield updates

    async def branch(self, event: gr.EventData) -> AsyncIterator[Updates]:
        """Start a new run that takes another token at one position of an earlier one."""

        client = _client()

        def start() -> tuple[str, RunView]:
            fields = Fields(event._data)
            position, token_id = fields.number("position"), fields.number("token")
            key, run_id = fields.visitor_key, fields.text("run")
            return key, self._service.branch(key, run_id, position, token_id, client=client)

        async for updates in self._stream(start):
            yield updates

    async def rerun(self, event: gr.EventData) -> AsyncIterator[Updates]:
        """Start a run again with the prompt and settings that it had."""

        client = _client()

        def start() -> tuple[str, RunView]:
            fields = Fields(event._data)
            return fields.visitor_key, self._service.rerun(fields.visitor_key, fields.text("run"), client=client)

        async for updates in self._stream(start):
            yield updates

    async def revise(self, event: gr.EventData, *settings: object) -> AsyncIterator[Updates]:
        """Ask anew in an earlier run's place, with the prompt that is sent and the settings of the side panel."""

        client = _client()

        def start() -> tuple[str, RunView]:
            fields = Fields(event._data)
            prompt = fields.text("prompt", MAX_PROMPT_CHARS)
            changes = changes_from(self._service.config, settings)
            revise = self._service.revisions.revise
            return fields.visitor_key, revise(fields.visitor_key, fields.text("run"), prompt, changes, client=client)

        async for updates in self._stream(start):
            yield updates

    async def regenerate(self, event: gr.EventData) -> AsyncIterator[Updates]:
        """Answer anew in one stream of a run."""

        client = _client()

        def start() -> tuple[str, RunView]:
            fields = Fields(event._data)
            regenerate = self._service.revisions.regenerate
            return fields.visitor_key, regenerate(
                fields.visitor_key, fields.text("run"), fields.text("stream"), client=client
            )

        async for updates in self._stream(start):
            yield updates

    async def extend(self, event: gr.EventData) -> AsyncIterator[Updates]:
        """Go on with the answers that ended at their limit."""

        client = _client()

        def start() -> tuple[str, RunView]:
            fields = Fields(event._data)
            return fields.visitor_key, self._service.revisions.extend(
                fields.visitor_key, fields.text("run"), client=client
            )

        async for updates in self._stream(start):
            yield updates

    def open(self, event: gr.EventData) -> Updates:
        """Show a stored run as it ended. Only a conversation's newest run can be gone on from; others stand alone."""
        try:
            fields = Fields(event._data)
            run = self._service.look(fields.visitor_key, fields.text("run"))
            runs = self._conversation(fields.visitor_key, run)
            before = self._service.run_before(fields.visitor_key, run)
            board = RunLines(run, before, self._service.run_beside(fields.visitor_key, run)).value(is_last=True)
        except GacError as error:
            return _notice(error)
        if runs and runs[-1].id != run.id:
            return board, "[]", "", gr.skip(), ""
        return board, _turns_before(run), run.conversation_id, gr.skip(), ""

    async def _stream(self, start: Callable[[], tuple[str, RunView]]) -> AsyncIterator[Updates]:
        if not await _is_heard():
            return
        try:
            key, run = await asyncio.to_thread(start)
        except GacError as error:
            yield _notice(error)
            return
        try:
            before = await asyncio.to_thread(self._service.run_before, key, run)
            lines = RunLines(run, before, await asyncio.to_thread(self._service.run_beside, key, run))
            yield lines.value(), _turns_before(run), run.conversation_id, "", ""
            async for _ in _ticks(run):
                yield lines.value(), gr.skip(), gr.skip(), gr.skip(), gr.skip()
            yield lines.value(is_last=True), gr.skip(), gr.skip(), gr.skip(), gr.skip()
        finally:
            # Reached too when the page closes or another run takes its place: nobody reads on, so nothing decodes on.
            if not is_over(run):
                self._service.stop(key, run.id)

    def _conversation(self, key: str, run: RunView) -> list[RunView]:
        """The runs of a run's conversation, in order."""
        try:
            return self._service.conversation(key, run.conversation_id)
        except NotFoundError:  # not stored, because the database is away: the answer goes on without
            return []


async def _is_heard() -> bool:
    """Whether somebody listens to the event that is being handled, as far as the host knows."""
    request = LocalContext.request.get(None)
    is_heard = getattr(request.request.state, IS_HEARD, None) if request and request.request else None
    return is_heard is None or await is_heard()


def _client() -> str:
    """What stands for the client whose event is being handled."""
    request = LocalContext.request.get(None)
    return client_of(request.client.host) if request and request.client else ""


def _turns_before(run: RunView) -> str:
    """The turns that a run goes on from, as JSON for the list above the prompt; first how many were deleted, if any."""
    turns: list[dict[str, Any]] = [
        {"id": turn.run_id, "prompt": turn.prompt, "answer": turn.answers.get(ENSEMBLE, "")}
        for turn in run.turns[-MAX_TURNS_SHOWN:]
    ]
    if run.num_deleted_turns:
        turns.insert(0, {"deleted": run.num_deleted_turns})
    return json.dumps(turns).replace("<", "\\u003c")


async def _ticks(run: RunView) -> AsyncIterator[None]:
    """One tick per update until the run is over and, within reason, known to be stored or not."""
    deadline: float | None = None
    while True:
        await asyncio.sleep(PERIOD_S)
        if is_over(run):
            deadline = deadline or time.monotonic() + SAVE_PATIENCE_S
            if run.is_saved is not None or time.monotonic() > deadline:
                return
        yield


def _notice(error: GacError) -> Updates:
    field = error.field if isinstance(error, RequestError) else ""
    message = without_folders(error.message if isinstance(error, RequestError) else str(error))
    # The clock makes two equal notices differ, so that the second is shown too.
    notice = json.dumps({"at": time.monotonic(), "field": field, "message": message})
    return gr.skip(), gr.skip(), gr.skip(), gr.skip(), notice.replace("<", "\\u003c")
