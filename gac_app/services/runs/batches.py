"""Batches: many prompts, each an ordinary run of its visitor, one after another. Waiting runs come first in between. A
batch holds no text of runs that have begun: visitors see and delete them as runs.

A batch goes on while a page asks for its state, and `UNHEARD_S` longer.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from gac_app.errors import UNEXPECTED, BusyError, GacError, Phrase, RequestError
from gac_app.evaluation.tasks import parse_prompts
from gac_app.services.runs.runs import LiveRun, RunService
from gac_app.services.threads import begin_thread
from gac_app.services.visitors import owner_of

logger = logging.getLogger(__name__)

MAX_PROMPTS = 200
MAX_PROMPTS_CHARS = 250_000  # of all together
MAX_BATCHES, MAX_OF_CLIENT = 64, 4  # under way at once, of everybody and of one address; a browser has one
KEPT_BATCHES = 64  # finished ones, for their visitors' pages
UNHEARD_S = 120.0  # browsers let a page in the background ask once a minute
GIVES_WAY_S = 10.0  # where places are short, a batch that no page asked for so long loses its own
_RETRY_S, _LOOK_S = 1.0, 0.2
CLOSE_TIMEOUT_S = 2.0
_LEFT = Phrase("not asked: no page showed this batch for {n} minutes", n=f"{UNHEARD_S / 60:.0f}")
_GAVE_WAY = Phrase("cancelled: nobody was watching and the slot was needed")


@dataclass(slots=True)
class Row:
    """One prompt. `prompt` is kept until its run begins. If the run cannot begin, it stays, and `error` says why.

    `is_over` is set once the answers are stored, or known to be lost.
    """

    prompt: str
    run_id: str = ""
    is_over: bool = False
    error: str = ""


@dataclass(slots=True)
class Batch:
    """A visitor's prompts and their progress.

    Attributes:
        client: the origin, from `client_of`.
        heard_at: when a page last asked for it; of the service's clock.
        why: what rows that have not begun when it ends say.
    """

    rows: list[Row]
    client: str
    heard_at: float
    why: str = ""
    is_over: bool = False
    cancelled: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    def end(self, why: str) -> None:
        """Stop the current prompt and run no more."""
        self.why = self.why or why
        self.cancelled.set()


class Batches:
    """Runs batches. Keeps the last batch of each visitor."""

    def __init__(self, runs: RunService, clock: Callable[[], float] = time.monotonic) -> None:
        self._runs, self._clock = runs, clock
        self._batches: dict[str, Batch] = {}  # by owner
        self._lock = threading.Lock()
        runs.companions.append(self)

    def start(self, visitor_key: str, text: str, changes: Mapping[str, Any], *, client: str = "") -> Batch:
        """Start a batch with the prompts in a text.

        Args:
            changes: settings that differ from the configuration's.
            client: as in `RunService.start`.

        Raises:
            RequestError: prompts or settings do not fit.
            BusyError: while another batch of this visitor, or too many of others, are under way.
            GacError: while the models are not ready.
        """
        owner = owner_of(visitor_key)
        self._runs.config.settings_from(changes)
        batch = Batch([Row(prompt) for prompt in parse_prompts(text, MAX_PROMPTS)], client, self._clock())
        self._runs.members.ensemble()
        with self._lock:
            last = self._batches.get(owner)
            if last and not last.is_over:
                raise BusyError(Phrase("A batch of yours is running. Cancel it, or wait until it is done."))
            self._make_room(client)
            batch.thread = begin_thread("batch", self._work, batch, visitor_key, changes)
            self._batches.pop(owner, None)
            self._batches[owner] = batch
        return batch

    def _make_room(self, client: str) -> None:
        """Find a place for a client's new batch, and forget the oldest finished ones. Raises BusyError."""
        over = [owner for owner, one in self._batches.items() if one.is_over]
        for owner in over[: max(0, len(over) - KEPT_BATCHES)]:
            del self._batches[owner]
        under_way = [one for one in self._batches.values() if not one.cancelled.is_set() and not one.is_over]
        own = [one for one in under_way if one.client == client]
        if len(own) >= MAX_OF_CLIENT:
            self._end_unheard(own, Phrase("Too many batches of your address are running. Try again later."))
        elif len(under_way) >= MAX_BATCHES:
            self._end_unheard(under_way, Phrase("Too many batches are running. Try again later."))

    def _end_unheard(self, batches: Collection[Batch], refusal: str) -> None:
        """End the batch that no page asked for longest. Raises BusyError if pages ask for all of them."""
        longest = min(batches, key=lambda one: one.heard_at)
        if self._clock() - longest.heard_at < GIVES_WAY_S:
            raise BusyError(refusal)
        longest.end(_GAVE_WAY)

    def look(self, visitor_key: str) -> Batch | None:
        """The visitor's last batch, for a page that shows it."""
        if batch := self._batches.get(owner_of(visitor_key)):
            batch.heard_at = self._clock()
        return batch

    def cancel(self, visitor_key: str) -> None:
        """Stop the current prompt and run no more. Answers so far stay."""
        if batch := self._batches.get(owner_of(visitor_key)):
            batch.end("cancelled")

    def forget(self, visitor_key: str) -> None:
        """Cancel a visitor's batch and keep nothing of it."""
        with self._lock:
            batch = self._batches.pop(owner_of(visitor_key), None)
        if batch:
            batch.end("cancelled")

    def close(self) -> None:
        """Cancel all batches, and wait briefly."""
        batches = list(self._batches.values())
        for batch in batches:
            batch.end("cancelled")
        for batch in batches:
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
                    if self._is_ending(batch):
                        self._runs.stop(visitor_key, run.id)
            run.wait_for(lambda: run.is_over_and_saved)
            if not run.is_saved:
                row.error = Phrase("answered, but not saved: the database could not take it")
        except RequestError as error:
            row.error = error.message
        except GacError as error:
            row.error = error.user_message
        except Exception:
            logger.exception("a batch broke at one of its prompts")
            row.error = UNEXPECTED
        finally:
            row.is_over = True

    def _begin(self, batch: Batch, row: Row, visitor_key: str, changes: Mapping[str, Any]) -> LiveRun | None:
        """The run, once the queue takes it; None if the batch ends before."""
        while not self._is_ending(batch):
            try:
                with self._runs.changing(visitor_key):  # a deletion of everything may have ended the batch
                    if not batch.cancelled.is_set():
                        return self._runs.start(visitor_key, row.prompt, changes, client=batch.client, is_of_batch=True)
            except BusyError:
                batch.cancelled.wait(_RETRY_S)
        row.error = batch.why
        return None

    def _is_ending(self, batch: Batch) -> bool:
        if self._clock() - batch.heard_at > UNHEARD_S:
            batch.end(_LEFT)
        return batch.cancelled.is_set()
