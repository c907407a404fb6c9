"""Decodes runs. Every stream of a run has its own thread, so that none waits for another: a step waits for the members'
forward passes, and a member alone that took turns with the ensemble would be as slow as the slowest of both.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from gac_app.config import Config
from gac_app.decoding.trace import FinishedEvent, FinishReason
from gac_app.errors import UNEXPECTED, BusyError, GacError, without_folders
from gac_app.services.members import Members
from gac_app.services.origin import ORIGIN
from gac_app.services.queue.queue import RunQueue
from gac_app.services.runs.live_run import LiveRun, LiveStream
from gac_app.services.runs.metrics import Metrics
from gac_app.services.runs.views import run_status
from gac_app.services.threads import begin_thread, begin_timer

if TYPE_CHECKING:  # it loads torch, which the page need not wait for
    from gac_app.decoding.request import Encoded
    from gac_app.decoding.together import DecodesTogether

logger = logging.getLogger(__name__)

UNSEEN_S = 15.0


class Runner:
    """Decodes runs in turn, and stops them: also those that no page follows any more.

    Args:
        config: the number of runs at once, and the members' room for sequences.
        metrics: count what is decoded.

    Attributes:
        on_ended: called with each run that has ended, in its thread.
        unseen_s: how long a run that a page has shown continues without one, so that a page can be reloaded.
    """

    def __init__(self, config: Config, members: Members, metrics: Metrics) -> None:
        server = config.server
        num_held = 2 * (server.max_running + config.lab.is_open)
        has_spare = min(member.max_sequences for member in config.members) >= num_held + 2
        self._members, self.metrics = members, metrics
        self.on_ended: list[Callable[[LiveRun], None]] = []
        self.unseen_s = UNSEEN_S
        self._queue: RunQueue[LiveRun] = RunQueue(
            self._carry_out,
            self._end_waiting,
            max_running=server.max_running,
            max_waiting=server.max_waiting,
            num_spare=int(has_spare),
        )
        metrics.show("num_requests_running", "Runs that decode.", lambda: self._queue.counts()[0])
        metrics.show("num_requests_waiting", "Runs in the queue.", lambda: self._queue.counts()[1])
        self._lock = threading.Lock()
        self._tokenising: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()  # by client

    def put(self, run: LiveRun, on_taken: Callable[[], None], on_ended: Callable[[], None]) -> None:
        """Check a run, and start or queue it: one at a time of each client. If it is refused, nothing of it is kept.

        Args:
            on_taken: called before it can begin.
            on_ended: called when all its streams have ended, before `over` is set.

        Raises:
            RequestError: it does not fit the members.
            BusyError: the queue is full.
        """
        ensemble = self._members.ensemble()
        with self._lock:
            tokenising = self._tokenising.setdefault(run.client, threading.Lock())
        with tokenising:
            self._queue.check(run)
            known: Encoded = {}
            for key, stream in run.streams.items():
                if stream.finished is None:
                    run.requests[key] = run.request_of(key, ensemble, known)
        run.on_ended = on_ended
        if self._members.decodes_together is not None:  # the request tells whose GPU time the run takes
            run.context = copy_context()
        self._queue.put(run, on_taken)

    def stop(self, run: LiveRun) -> None:
        """End a run within one step. Does nothing if it is over."""
        if run.over.is_set():
            self._queue.reveal(run)
            return
        if self._queue.remove(run):
            self._end_waiting(run, "stopped before it began")
            return
        with self._lock:
            run.is_stopping.set()
            sessions = list(run.sessions)
        for session in sessions:
            session.stop()
        run.changed()

    def stop_all(self, runs: Sequence[LiveRun], timeout_s: float) -> None:
        """Stop `runs` and wait until they have ended, at most `timeout_s` for all of them."""
        for run in runs:
            self.stop(run)
        deadline = time.monotonic() + timeout_s
        for run in runs:
            run.over.wait(max(0.0, deadline - time.monotonic()))

    @contextmanager
    def following(self, run: LiveRun) -> Iterator[None]:
        """A page follows the run until the block ends. Soon after the last page has left, the run ends.

        A page that follows a run may not show it, because events may reach nobody. So a run that no page has reported
        to show (`is_seen`) ends as soon as no page follows it.
        """
        with self._lock:
            run.num_followers += 1
        try:
            yield
        finally:
            with self._lock:
                run.num_followers -= 1
                run.num_departures += 1
                is_left = not run.num_followers and (run.is_blind or not run.over.is_set())  # it may be hidden
            waits = (
                is_left and run.is_seen and begin_timer(self.unseen_s, self._stop_unless_back, run, run.num_departures)
            )
            if is_left and not waits:
                self.stop(run)

    def _stop_unless_back(self, run: LiveRun, num_departures: int) -> None:
        if not run.num_followers and run.num_departures == num_departures:
            self.stop(run)

    # --- in the run's threads

    def _carry_out(self, run: LiveRun) -> None:
        ORIGIN.set(run.origin)
        run.status = "running"
        run.changed()
        # The other streams are copied from another run.
        unfinished = {key: stream for key, stream in run.streams.items() if stream.finished is None}
        if self._members.decodes_together is not None:
            try:
                self._decode_together(run, self._members.decodes_together)
            except BusyError as error:
                self._break_off(run, FinishReason.ERROR, error.user_message)
        else:
            self._decode_apart(run, unfinished)
        if not run.is_blind:
            self.metrics.answered(unfinished.values())
        self._end(run)

    def _decode_apart(self, run: LiveRun, streams: Mapping[str, LiveStream]) -> None:
        """Fill streams in threads, `run.num_at_once` of them at a time. This thread is the first stream's."""
        items = list(streams.items())
        num_threads = min(run.num_at_once or len(items), len(items))

        def decode(share: Sequence[tuple[str, LiveStream]]) -> None:
            ORIGIN.set(run.origin)
            for key, stream in share:
                self._decode(run, key, stream)

        own, *others = (items[first::num_threads] for first in range(num_threads))
        threads = []
        for share in others:
            try:
                threads.append(begin_thread(f"run-{run.id[:8]}", decode, share))
            except BusyError:  # later, in this one
                own += share
        decode(own)
        for thread in threads:
            thread.join()

    def _decode(self, run: LiveRun, key: str, stream: LiveStream) -> None:
        """Fill one stream. Whatever happens, it ends with a finished event."""
        try:
            session = run.open(key, self._members.ensemble())
            with self._lock:
                run.sessions.append(session)
            if run.is_stopping.is_set():
                session.stop()
            for event in session.events():
                run.add(stream, event)
        except BaseException as error:  # the other streams continue, and the page shows the error
            run.add(stream, _broken(stream, FinishReason.ERROR, _why(error, run, stream.name)))

    def _decode_together(self, run: LiveRun, decodes_together: DecodesTogether) -> None:
        """Fill all streams of a run. As with `_decode`, they end with a finished event.

        What waits for a GPU cannot be interrupted. So it has a thread of its own, which a run that is stopped leaves
        behind; that thread ends at its next event.
        """
        from gac_app.decoding.together import Part

        parts = tuple(
            Part(key, stream.messages, run.settings_of(key), run.alone_in(key), run.branches.get(key))
            for key, stream in run.streams.items()
            if stream.finished is None
        )
        is_over = threading.Event()

        def decode() -> None:
            try:
                with closing(decodes_together(parts)) as events:
                    for key, event in events:
                        with self._lock:
                            if run.is_stopping.is_set():
                                return
                            stream = run.streams[key]
                            if isinstance(event, str):
                                event = _broken(stream, FinishReason.ERROR, event)
                            run.add(stream, event)
            except BaseException as error:
                self._break_off(run, FinishReason.ERROR, _why(error, run, "ensemble"))
            finally:
                is_over.set()
                run.changed()

        context = run.context or copy_context()
        begin_thread(f"run-{run.id[:8]}", context.run, decode)
        run.wait_for(lambda: is_over.is_set() or run.is_stopping.is_set())
        self._break_off(run, FinishReason.ABORT, "")

    def _end_waiting(self, run: LiveRun, why: str) -> None:
        self._break_off(run, FinishReason.ABORT, why)
        self._end(run)

    def _break_off(self, run: LiveRun, reason: FinishReason, why: str) -> None:
        """End the streams that have not ended."""
        with self._lock:
            for stream in run.streams.values():
                if stream.finished is None:
                    run.add(stream, _broken(stream, reason, why))

    def _end(self, run: LiveRun) -> None:
        with self._lock:
            run.sessions.clear()
        run.requests.clear()
        run.context = None
        run.status = run_status(list(run.streams.values()))
        run.on_ended()
        run.over.set()
        run.changed()
        for tell in self.on_ended:
            tell(run)


def _why(error: BaseException, run: LiveRun, name: str) -> str:
    """The page's message for an error that ended a stream. Unexpected errors are logged."""
    if isinstance(error, GacError):
        return without_folders(error.user_message)
    logger.error("run %s: the stream of %s broke", run.id, name, exc_info=error)
    return UNEXPECTED


def _broken(stream: LiveStream, reason: FinishReason, detail: str) -> FinishedEvent:
    """A finished event for a stream whose session gave none."""
    steps = stream.steps
    return FinishedEvent(
        reason=reason,
        text=stream.text,
        num_tokens=len(steps),
        num_ensembled=sum(step.is_ensembled for step in steps),
        ttft_s=0.0,
        seconds=0.0,
        members={},
        detail=detail,
        num_replayed=stream.num_kept,
    )
