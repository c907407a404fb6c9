"""Decodes runs. Every stream of a run has its own thread, so that none waits for another."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING

from gac_app.config import Config
from gac_app.decoding.trace import FinishedEvent, FinishReason
from gac_app.errors import UNEXPECTED, GacError, without_folders
from gac_app.services.queue.queue import RunQueue
from gac_app.services.runs.apart import read_apart
from gac_app.services.runs.live_run import LiveRun, LiveStream
from gac_app.services.runs.views import StreamView, run_status

if TYPE_CHECKING:  # both load torch, which the page need not wait for
    from gac_app.decoding.ensemble import Ensemble
    from gac_app.decoding.together import DecodesTogether

logger = logging.getLogger(__name__)


class Runner:
    """Decodes runs in turn, and stops them.

    Args:
        config: the number of runs at once, and the members' room for sequences.
    """

    def __init__(self, config: Config) -> None:
        self.ensemble: Ensemble | None = None  # None until the members are ready
        self.decodes_together: DecodesTogether | None = None  # decodes a run's streams if they cannot have threads
        server = config.server
        num_held = 2 * (server.max_running + config.lab.is_open)
        has_spare = min(member.max_sequences for member in config.members) >= num_held + 2
        self._queue = RunQueue(
            self._carry_out, max_running=server.max_running, max_waiting=server.max_waiting, num_spare=int(has_spare)
        )
        self._lock = threading.Lock()

    def put(self, run: LiveRun, on_taken: Callable[[], None], on_ended: Callable[[], None]) -> None:
        """Start or queue a run. Raises BusyError if the queue is full; nothing of the run is kept then.

        Args:
            on_taken: called before it can begin.
            on_ended: called when all its streams have ended, before `over` is set.
        """
        run.on_ended = on_ended
        if self.decodes_together is not None:  # the request tells whose GPU time the run takes
            run.context = copy_context()
        displaced = self._queue.put(run, on_taken)
        if displaced is not None:
            self._end_waiting(displaced, "the queue was full, and others had their turn first; please try again")

    def stop(self, run: LiveRun) -> None:
        """End a run within one step. Does nothing if it is over."""
        if run.over.is_set():
            return
        if self._queue.remove(run):
            self._end_waiting(run, "stopped before it began")
            return
        with self._lock:
            run.is_stopping.set()
            sessions = list(run.sessions)
        for session in sessions:
            session.stop()

    def stop_all(self, runs: list[LiveRun], timeout_s: float) -> None:
        """Stop `runs` and wait until they have ended, at most `timeout_s` for all of them."""
        for run in runs:
            self.stop(run)
        deadline = time.monotonic() + timeout_s
        for run in runs:
            run.over.wait(max(0.0, deadline - time.monotonic()))

    def forget(self, owner: str, conversation_id: str = "") -> None:
        """Drop a conversation, or all of an owner's, from the prefix caches."""
        if self.ensemble is not None:
            self.ensemble.forget(_namespace(owner, conversation_id))

    def _carry_out(self, run: LiveRun) -> None:
        run.status = "running"
        run.changed()
        # The other streams are copied from another run.
        unfinished = {key: stream for key, stream in run.streams.items() if stream.finished is None}
        if self.decodes_together is not None:
            self._decode_together(run, unfinished, self.decodes_together)
            run.context = None
            self._end(run)
            return
        threads = [
            threading.Thread(target=self._decode, args=(run, key, stream), name=f"{run.id[:8]}-{key}")
            for key, stream in unfinished.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._end(run)

    def _decode_together(
        self, run: LiveRun, streams: Mapping[str, LiveStream], decodes_together: DecodesTogether
    ) -> None:
        """Fill all streams of a run. As with `_decode`, they end with a finished event."""
        from gac_app.decoding.together import Part

        parts = [
            Part(key, stream.messages, run.settings_of(key), run.alone_in(key), run.branches.get(key))
            for key, stream in streams.items()
        ]
        reason, detail = FinishReason.ABORT, ""
        try:
            decode, context = partial(decodes_together, tuple(parts)), run.context or copy_context()
            for key, event in read_apart(decode, run.is_stopping, context):
                stream = streams[key]
                stream.events.append(_broken(stream, FinishReason.ERROR, event) if isinstance(event, str) else event)
                run.changed()
        except BaseException as error:
            reason, detail = FinishReason.ERROR, _why(error, run, "ensemble")
        for stream in streams.values():
            if stream.finished is None:
                stream.events.append(_broken(stream, reason, detail))

    def _decode(self, run: LiveRun, key: str, stream: LiveStream) -> None:
        """Fill one stream. Whatever happens, it ends with a finished event."""
        try:
            assert self.ensemble is not None  # noqa: S101 (no run starts before it is set)
            session = self.ensemble.session(
                stream.messages,
                run.settings_of(key),
                alone=run.alone_in(key),
                branch=run.branches.get(key),
                namespace=_namespace(run.owner, run.conversation_id),
                share=(run.client, run.owner),
            )
            with self._lock:
                run.sessions.append(session)
            if run.is_stopping.is_set():
                session.stop()
            for event in session.events():
                stream.events.append(event)
                run.changed()
        except BaseException as error:  # the other streams continue, and the page shows the error
            stream.events.append(_broken(stream, FinishReason.ERROR, _why(error, run, stream.name)))
            run.changed()

    def _end_waiting(self, run: LiveRun, why: str) -> None:
        for stream in run.streams.values():
            if stream.finished is None:
                stream.events.append(_broken(stream, FinishReason.ABORT, why))
        self._end(run)

    def _end(self, run: LiveRun) -> None:
        with self._lock:
            run.sessions.clear()
        run.status = run_status(list(run.streams.values()))
        run.on_ended()
        run.over.set()
        run.changed()


def _namespace(owner: str, conversation_id: str) -> str:
    """The namespace in the prefix cache. Turns, streams and branches of one conversation share it; visitors never
    do.
    """
    return f"{owner}/{conversation_id}" if conversation_id else owner


def _why(error: BaseException, run: LiveRun, name: str) -> str:
    """The page's message for an error that ended a stream. Unexpected errors are logged."""
    if isinstance(error, GacError):
        return without_folders(str(error))
    logger.error("run %s: the stream of %s broke", run.id, name, exc_info=error)
    return UNEXPECTED


def _broken(stream: StreamView, reason: FinishReason, detail: str) -> FinishedEvent:
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
    )
