"""Event handlers that show a run on the board: a prompt, a branch, a rerun, a stored run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, nullcontext, suppress
from functools import partial
from threading import Semaphore
from typing import Any

import gradio as gr

from gac_app.config import MAX_PROMPT_CHARS
from gac_app.errors import GacError, NotFoundError
from gac_app.services.lab.lab import Lab
from gac_app.services.runs.live_run import LiveRun, changes_of
from gac_app.services.runs.runs import RunService, RunView
from gac_app.services.runs.views import is_over
from gac_app.ui.compare.records import RunLines
from gac_app.ui.compare.turns import turns_beside
from gac_app.ui.requests import Fields, Threads, client_here, has_listener, refusal_json
from gac_app.ui.settings.values import changes_from
from gac_app.ui.streaming import start_and_follow, stream_handler

PERIOD_S = 1 / 16  # at least, between two updates of the board
UNTOLD_S = 0.5  # at most, for what no event tells: how much of a prompt is read, and who else decodes
SAVE_TIMEOUT_S = 3.0  # a finished run waits so long for the result of its write

Updates = tuple[Any, Any, Any, Any]  # values of the board, the earlier turns, the prompt box and the notice


class RunHandlers:
    """Gradio event handlers over a `RunService`. Each gives `Updates`; errors become a notice.

    Args:
        computing: held while the lines of a run that is over are written, for some hundredths of a second.
    """

    def __init__(self, service: RunService, computing: Semaphore, lab: Lab | None = None) -> None:
        self._service = service
        self._computing = computing
        self._lab = lab
        self._threads = Threads()

    def on(self, name: str) -> Callable[[gr.EventData], AsyncIterator[Updates]]:
        """The handler of the script's event that is called as a method below."""
        return stream_handler(partial(self.stream, prompt=gr.skip()), getattr(self, name))  # what is typed there stays

    async def run(self, key: object, place: object, prompt: object, settings: object) -> AsyncIterator[Updates]:
        """Answer a prompt with the settings panel's values; None = the defaults.

        Args:
            place: of the run that is shown, whose conversation goes on; None = a new conversation.
        """
        client, fields = client_here(), Fields({"key": key})

        def start() -> tuple[str, RunView]:
            visitor_key, text = fields.visitor_key, Fields({"prompt": prompt}).text("prompt", MAX_PROMPT_CHARS)
            changes = changes_from(self._service.config, settings or {})
            shown = Fields(place or {"conversation": "", "after": ""})
            return visitor_key, self._service.start(
                visitor_key, text, changes, shown.text("conversation"), after=shown.text("after"), client=client
            )

        async for updates in self.stream(start):
            yield updates

    def branch(self, fields: Fields, client: str) -> RunView:
        """Start a run with another token at a position of an earlier run."""
        position, token_id = fields.number("position"), fields.number("token")
        return self._service.branch(fields.visitor_key, fields.text("run"), position, token_id, client=client)

    def rerun(self, fields: Fields, client: str) -> RunView:
        """Repeat a run with its prompt and settings."""
        return self._service.rerun(fields.visitor_key, fields.text("run"), client=client)

    def revise(self, fields: Fields, client: str) -> RunView:
        """Replace an earlier run by one with the given prompt and settings."""
        prompt = fields.text("prompt", MAX_PROMPT_CHARS)
        changes = changes_from(self._service.config, fields.unchecked("settings") or {})
        return self._service.revise(fields.visitor_key, fields.text("run"), prompt, changes, client=client)

    def compare(self, fields: Fields, client: str) -> RunView:
        """Answer an earlier run's prompt with other settings, by the ensemble alone, beside its answer."""
        changes = changes_from(self._service.config, fields.unchecked("settings") or {})
        return self._service.compare(fields.visitor_key, fields.text("run"), changes, client=client)

    def regenerate(self, fields: Fields, client: str) -> RunView:
        """Regenerate the answer of one stream of a run."""
        run_id, stream = fields.text("run"), fields.text("stream")
        return self._service.regenerate(fields.visitor_key, run_id, stream, client=client)

    def extend(self, fields: Fields, client: str) -> RunView:
        """Continue one answer, or all, that were stopped or reached their limit."""
        return self._service.extend(fields.visitor_key, fields.text("run"), fields.text("stream"), client=client)

    def open(self, fields: Fields, client: str) -> RunView:
        """Show a run, and follow it while it continues. The next prompt continues its conversation, after the last
        turn.
        """
        return self._service.history.look(fields.visitor_key, fields.text("run"))

    async def stream(self, start: Callable[[], tuple[str, RunView]], prompt: object = "") -> AsyncIterator[Updates]:
        """The updates for the run that `start` gives to a visitor's key; `prompt` is the prompt box's first one."""
        if not await has_listener():
            return
        try:
            async with start_and_follow(self._threads, start, lambda it: self._service.following(it[1])) as (key, run):
                is_live = isinstance(run, LiveRun) and not run.is_over_and_saved
                lines, value, turns = await self._threads.run(self._opened, key, run, is_live)
                yield value, turns, prompt, ""
                if isinstance(run, LiveRun) and is_live:
                    async with aclosing(_changes(run)) as changes:
                        async for is_last in changes:
                            value = await self._threads.run(lines.value, is_last=is_last)
                            yield value, gr.skip(), gr.skip(), gr.skip()
        except GacError as error:
            yield gr.skip(), gr.skip(), gr.skip(), refusal_json(error)

    def _opened(self, key: str, run: RunView, is_live: bool) -> tuple[RunLines, str, str]:
        """A run's lines, their first value, and the turns of its conversation."""

        def others() -> tuple[int, str]:
            study = self._lab.running if self._lab else None
            return self._service.num_beside(run), study.study.title if study else ""

        history, runs = self._service.history, list[RunView]()
        with suppress(NotFoundError):  # not stored, because the database is unavailable; the answer continues
            runs = history.conversation(key, run.conversation_id)
        beside = history.run_beside(key, run)
        lines = RunLines(run, history.run_before(key, run), beside, others, runs)
        with nullcontext() if is_live else self._computing:
            return lines, lines.value(is_last=not is_live), turns_beside(run, runs)


async def _changes(run: LiveRun) -> AsyncGenerator[bool, None]:
    """Whenever the run tells of changes; True with the last, when it is over and known to be stored or not, or was not
    within `SAVE_TIMEOUT_S`.
    """
    deadline: float | None = None
    async with changes_of(run) as changed:
        while True:
            await asyncio.sleep(PERIOD_S)
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), UNTOLD_S)
            changed.clear()
            if is_over(run):
                deadline = deadline or time.monotonic() + SAVE_TIMEOUT_S
            is_last = run.is_over_and_saved or (deadline is not None and time.monotonic() > deadline)
            yield is_last
            if is_last:
                return
