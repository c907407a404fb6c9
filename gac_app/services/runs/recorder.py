"""Writes a run to the database while it decodes. Losing the database must not lose the answer on the screen."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait

from gac_app.decoding.trace import TokenEvent
from gac_app.services.runs.live_run import LiveRun
from gac_app.services.runs.views import ENSEMBLE, RUN_FACTS, StreamView, run_status
from gac_app.services.writes import log_failure
from gac_app.storage import AnswerRecord, NewRun, Store

logger = logging.getLogger(__name__)

_NUM_THREADS = 4  # that pack answers, so that a long one holds up neither the next run nor, mostly, other answers


class Recorder:
    """Keeps the rows of runs up to date.

    Args:
        config_hash: identifies the configuration.
        versions: of the packages that affect results.
    """

    def __init__(self, store: Store, config_hash: str, versions: Mapping[str, str]) -> None:
        self._store = store
        self._config_hash = config_hash
        self._versions = versions
        self._threads = ThreadPoolExecutor(_NUM_THREADS, "gac-recording")
        self._packing: set[Future[None]] = set()

    def started(self, run: LiveRun, visitor_key: str) -> None:
        """Write the run as running."""
        writing = self._store.start_run(
            NewRun(
                run_id=run.id,
                visitor_key=visitor_key,
                settings=run.settings.model_dump(mode="json"),
                turn_ids=run.turn_ids,
                config_hash=self._config_hash,
                versions=dict(self._versions),
                **{name: getattr(run, name) for name in RUN_FACTS},
            )
        )
        _note_failures(run, [writing])

    def finished(self, run: LiveRun) -> None:
        """Write answers and status, in a thread. Sets `run.is_saved` once the outcome is known."""
        packing = self._threads.submit(self._write, run)
        self._packing.add(packing)
        packing.add_done_callback(self._packing.discard)

    def close(self, timeout_s: float) -> None:
        """Hand all answers to the store, for at most `timeout_s`."""
        wait(list(self._packing), timeout_s)

    def _write(self, run: LiveRun) -> None:
        def note_saved(done: Future[None]) -> None:
            run.is_saved = run.is_saved is not False and done.exception() is None
            run.changed()

        try:
            answers = [self._store.save_answer(run.id, _record(key, stream)) for key, stream in run.streams.items()]
        except Exception as error:  # whose message may have text of the answers
            run.is_saved, answers = False, []
            logger.error("run %s: its answers could not be packed: %s", run.id, type(error).__name__)
        _note_failures(run, answers)
        self._store.finish_run(run.id, run_status(list(run.streams.values()))).add_done_callback(note_saved)


def _note_failures(run: LiveRun, writes: Iterable[Future[None]]) -> None:
    def note(done: Future[None]) -> None:
        if done.exception() is not None:
            run.is_saved = False
            run.changed()

    for write in writes:
        log_failure(write, f"run {run.id}")
        write.add_done_callback(note)


def _record(key: str, stream: StreamView) -> AnswerRecord:
    finished = stream.finished
    assert finished is not None  # noqa: S101 (all streams of a finished run have ended)
    return AnswerRecord(
        system=stream.name,
        is_ensemble=key == ENSEMBLE,
        finished=finished,
        events=[event for event in stream.events if isinstance(event, TokenEvent)],
    )
