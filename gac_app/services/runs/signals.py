"""What other servers on the same database ask of the runs and battles that this one answers."""

from __future__ import annotations

from collections.abc import Callable

from gac_app.services.runs.audience import Audience
from gac_app.services.runs.history import History
from gac_app.services.runs.live_run import LiveRun
from gac_app.services.runs.live_runs import LiveRuns
from gac_app.storage import Store, Wish

_PREFIX_CHARS = 8  # of a server's id


class Signals:
    """Does what other servers ask, and knows whose runs are whose.

    Attributes:
        hears: told each wish, with the id of its run or battle; each ignores what it does not know.

    Args:
        stop: ends a run.
        note_so_far: writes what a run has so far, for the page of another server that follows it.
    """

    def __init__(
        self,
        store: Store,
        runs: LiveRuns,
        history: History,
        audience: Audience,
        stop: Callable[[LiveRun], None],
        note_so_far: Callable[[LiveRun], None],
    ) -> None:
        self._store, self._runs, self._history, self._audience, self._stop = store, runs, history, audience, stop
        self._note_so_far = note_so_far
        self.hears: list[Callable[[str, Wish], None]] = [self._hear]
        store.listen(self._told)

    @property
    def server_prefix(self) -> str:
        """The ids of runs that are not stored begin so, by which other servers see whose they are."""
        return (self._store.server_id or "")[:_PREFIX_CHARS]

    def is_of_another_server(self, run_id: str) -> bool:
        """Whether a run that is not stored is one of another server that is alive."""
        return len(run_id) == 32 and self._store.has_other_server(run_id[:_PREFIX_CHARS])

    def heed(self, run: LiveRun, wish: Wish) -> None:
        """Stop or follow a run, also for other services."""
        if wish is Wish.STOP:
            self._stop(run)
        else:
            self._audience.follow_elsewhere(run)

    def _told(self, subject_id: str, wish: Wish) -> None:
        for hear in self.hears:
            hear(subject_id, wish)

    def _hear(self, run_id: str, wish: Wish) -> None:
        if wish is Wish.FORGET:
            self._history.forget(run_id)
        elif run := self._runs.get(run_id):
            self.heed(run, wish)
            if wish is Wish.FOLLOW:
                self._note_so_far(run)
