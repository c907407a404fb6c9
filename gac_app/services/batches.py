"""Batches: many prompts, each an ordinary run of its visitor, one after another. Waiting runs come first in between. A
batch holds no text of runs that have begun: visitors see and delete them as runs.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gac_app.errors import BusyError, GacError, RequestError
from gac_app.evaluation.tasks import parse_prompts
from gac_app.services.live_runs import owner_of
from gac_app.services.runs import LiveRun, RunService

logger = logging.getLogger(__name__)

MAX_PROMPTS = 200
MAX_BATCHES = 4  # under way at once, of all visitors
_RETRY_S, _LOOK_S = 1.0, 0.2
CLOSE_TIMEOUT_S = 2.0


@dataclass(slots=True)
class Row:
    """One prompt. `prompt` is kept until its run begins. If the run cannot begin, it stays, and `error` says why."""

    prompt: str
    run_id: str = ""
    is_over: bool = False
    error: str = ""


@dataclass(slots=True)
class Batch:
    """A visitor's prompts and their progress."""

    rows: list[Row]
    is_over: bool = False
    cancelled: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None


class Batches:
    """Runs batches. Keeps the last batch of each visitor."""

    def __init__(self, runs: RunService) -> None:
        self._runs = runs
        self._batches: dict[str, Batch] = {}  # by owner
        self._lock = threading.Lock()
        runs.companions.append(self)

    def start(self, visitor_key: str, text: str, changes: Mapping[str, Any]) -> Batch:
        """Start a batch with the prompts in a text.

        Args:
            changes: settings that differ from the configuration's.

        Raises:
            RequestError: prompts or settings do not fit.
            BusyError: while another batch of this visitor, or too many of others, are under way.
            GacError: while the models are not ready.
        """
        owner = owner_of(visitor_key)
        self._runs.config.settings_from(changes)
        batch = Batch([Row(prompt) for prompt in parse_prompts(text, MAX_PROMPTS)])
        self._runs.ready_ensemble()
        with self._lock:
            under_way = {key for key, one in self._batches.items() if not one.is_over}
            if owner in under_way:
                raise BusyError("A batch of yours is under way. Cancel it, or wait until it is done.")
            if len(under_way) >= MAX_BATCHES:
                raise BusyError("Too many batches are under way at the moment. Please try again later.")
            self._batches = {key: self._batches[key] for key in under_way} | {owner: batch}
        batch.thread = threading.Thread(
            target=self._work, args=(batch, visitor_key, changes), name="batch", daemon=True
        )
        batch.thread.start()
        return batch

    def find(self, visitor_key: str) -> Batch | None:
        """The visitor's last batch."""
        return self._batches.get(owner_of(visitor_key))

    def cancel(self, visitor_key: str) -> None:
        """Stop the current prompt and run no more. Answers so far stay."""
        if batch := self.find(visitor_key):
            batch.cancelled.set()

    def forget(self, visitor_key: str) -> None:
        """Cancel a visitor's batch and keep nothing of it."""
        with self._lock:
            batch = self._batches.pop(owner_of(visitor_key), None)
        if batch:
            batch.cancelled.set()

    def close(self) -> None:
        """Cancel all batches, and wait briefly."""
        under_way = list(self._batches.values())
        for batch in under_way:
            batch.cancelled.set()
        for batch in under_way:
            if batch.thread:
                batch.thread.join(CLOSE_TIMEOUT_S)

    # --- in the batch's thread

    def _work(self, batch: Batch, visitor_key: str, changes: Mapping[str, Any]) -> None:
        try:
            for row in batch.rows:
                self._answer(batch, row, visitor_key, changes)
        finally:
            batch.is_over = True

    def _answer(self, batch: Batch, row: Row, visitor_key: str, changes: Mapping[str, Any]) -> None:
        try:
            run = self._begin(batch, row, visitor_key, changes)
            if run is None:
                return
            row.prompt, row.run_id = "", run.id
            with self._runs.following(run):  # so that the run continues when its page closes
                while not run.over.wait(_LOOK_S):
                    if batch.cancelled.is_set():
                        self._runs.stop(visitor_key, run.id)
        except RequestError as error:
            row.error = error.message
        except GacError as error:
            row.error = str(error)
        except Exception:
            logger.exception("a batch broke at one of its prompts")
            row.error = "Something unexpected happened; the log of the server says what."
        finally:
            row.is_over = True

    def _begin(self, batch: Batch, row: Row, visitor_key: str, changes: Mapping[str, Any]) -> LiveRun | None:
        """The run, once the queue takes it; None if the batch is cancelled before."""
        while not batch.cancelled.is_set():
            try:
                return self._runs.start(visitor_key, row.prompt, changes)
            except BusyError:
                batch.cancelled.wait(_RETRY_S)
        row.error = "cancelled"
        return None
