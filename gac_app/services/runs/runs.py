"""Runs: one prompt answered by the ensemble and by every member alone, all at once.

Everything that a visitor may do goes through `RunService` and its `history`, which check the owner: the page is not
trusted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gac_app.config import MAX_PROMPT_CHARS, Config
from gac_app.errors import GacError, RequestError
from gac_app.services.members import MemberState, MemberStates
from gac_app.services.mirror.consent import Consents
from gac_app.services.mirror.mirror import Mirror
from gac_app.services.runs.audience import Audience
from gac_app.services.runs.history import END_TIMEOUT_S, Companion, History
from gac_app.services.runs.live_run import Continued, LiveRun, Origin
from gac_app.services.runs.live_runs import LiveRuns, owner_of
from gac_app.services.runs.recorder import Recorder
from gac_app.services.runs.revisions import Revisions
from gac_app.services.runs.runner import Runner
from gac_app.services.runs.views import ENSEMBLE, RunView, alone_in, member_stream
from gac_app.services.settling import settle
from gac_app.settings import Settings
from gac_app.storage import RunStatus, Store, clean_text

if TYPE_CHECKING:  # it loads torch, which the page need not wait for
    from gac_app.decoding.ensemble import Ensemble
    from gac_app.decoding.together import DecodesTogether

__all__ = ["LiveRun", "RunService", "RunView"]

CLOSE_TIMEOUT_S = 2.0  # for all of them, when the process ends


class RunService:
    """Starts, streams and stops runs. Its `history` finds, judges and deletes them.

    Args:
        config: members, default settings, how many runs at once.
        store: keeps the runs.
        versions: of the packages that affect results; stored with each run.

    Attributes:
        config_hash, versions: identify what a result was made with.
        companions: called when a visitor deletes everything, and on closing.
        kept: gives, by name, what each member's prefix cache keeps of ended runs, JSON-able.
        consents: the visitors whose runs are published.
        mirror: copies published runs; see `use_mirror`.
    """

    def __init__(self, config: Config, store: Store, versions: dict[str, str] | None = None) -> None:
        self.config = config
        self.states = MemberStates(config)
        self.companions: list[Companion] = []
        self.kept: Callable[[], dict[str, Any]] = dict
        self.consents = Consents()
        self.mirror: Mirror | None = None
        self._store = store
        self.config_hash = config_hash_of(config)
        self.versions = versions or {}
        self._recorder = Recorder(store, self.config_hash, self.versions)
        self._runner = Runner(config)
        self._runs = LiveRuns()
        self.history = History(config, store, self._runs, self._runner, self.companions)
        self.audience = Audience(self._runner.stop)
        self.revisions = Revisions(self)

    # --- the members

    def use(
        self,
        ensemble: Ensemble,
        kept: Callable[[], dict[str, Any]] = dict,
        decodes_together: DecodesTogether | None = None,
    ) -> None:
        """Set the ensemble; from now on runs can be started.

        Args:
            kept: see the attribute.
            decodes_together: decodes all streams of a run, instead of a thread for each.
        """
        self.kept = kept
        self._runner.decodes_together = decodes_together
        self._runner.ensemble = ensemble

    def set_consent(self, visitor_key: str, consents: bool, browser: str = "") -> None:
        """Set whether a visitor's later runs are published, and give them their imported runs.

        Args:
            browser: in which they said so.
        """
        self.consents.set(visitor_key, consents, browser)
        if self.mirror:
            settle(self._store.adopt(visitor_key))

    def use_mirror(self, mirror: Mirror) -> None:
        """Start copying runs, votes and battles, and marking deletions."""
        self.mirror = self._store.observer = mirror
        self.history.on_deleted = mirror.settle_deletions
        mirror.start()

    def read_mirror(self) -> None:
        """Bring back what the mirror's files tell, in the background; called once the page is up."""
        if self.mirror:
            self.mirror.read()

    def member_states(self) -> list[MemberState]:
        """The state of each member. One that is loaded has failed while none of its reads succeed."""
        members = self._runner.ensemble.members if self._runner.ensemble else {}
        failures = {name: member.failure for name, member in members.items() if member.failure}
        return [
            replace(state, phase="failed", detail=failures[state.name]) if state.name in failures else state
            for state in self.states.all()
        ]

    def member_speeds(self) -> dict[str, float]:
        """Tokens per second of each member alone, in the last run that measured it."""
        ended = [(s.name, s.finished) for run in self._runs.all() for key, s in run.streams.items() if alone_in(key)]
        return {name: end.tokens_per_s for name, end in ended if end and end.tokens_per_s}

    @property
    def is_ready(self) -> bool:
        return self._runner.ensemble is not None

    def check_storage(self) -> None:
        """Raise StorageError if the database cannot be written."""
        self._store.check()

    def close(self) -> None:
        """Stop every run, write what is pending, and release the models."""
        for companion in self.companions:
            companion.close()
        self._runner.stop_all(self._runs.all(), CLOSE_TIMEOUT_S)
        self._recorder.close(CLOSE_TIMEOUT_S)
        if self.mirror:
            self._store.flush(CLOSE_TIMEOUT_S)
            self.mirror.close()
        self._store.close()
        if self._runner.ensemble is not None:
            self._runner.ensemble.close()

    # --- starting runs

    def start(
        self,
        visitor_key: str,
        prompt: str,
        changes: Mapping[str, Any],
        conversation_id: str | None = None,
        *,
        repeats: RunView | None = None,
        client: str = "",
        is_of_batch: bool = False,
    ) -> LiveRun:
        """Answer a prompt, as the next turn of a conversation if one is named.

        Args:
            changes: settings that differ from the configuration's.
            repeats: the run that is repeated, if any.
            client: the origin, from `client_of`; clients take turns.
            is_of_batch: all runs of batches together leave a place to others.

        Raises:
            RequestError: prompt or settings do not fit, naming the field.
            NotFoundError: the conversation is not this visitor's.
            BusyError: the queue is full.
            GacError: while the models are not ready.
        """
        owner = owner_of(visitor_key)
        self.ready_ensemble()
        prompt = checked_prompt(prompt)
        settings = self.config.settings_from(changes)
        with self._runs.changing(owner):
            run = LiveRun(
                owner=owner,
                prompt=prompt,
                settings=settings,
                keys=self._stream_keys(settings),
                member_names=self.config.member_names,
                after=self._continued(visitor_key, conversation_id) if conversation_id else None,
            )
            run.is_of_batch = is_of_batch
            if repeats:
                run.repeats_run_id, run.seeds = repeats.id, dict(repeats.seeds)
            return self._begin(run, visitor_key, client)

    def ask(self, visitor_key: str, prompt: str, settings: Settings, origin: Origin, *, client: str = "") -> LiveRun:
        """Answer a prompt in place of an earlier run. Call this inside `changing`."""
        self.ready_ensemble()
        is_part = bool(origin.kept or origin.branches)  # new text continues the parent's own answers
        run = LiveRun(
            owner=owner_of(visitor_key),
            prompt=checked_prompt(prompt),
            settings=settings,
            keys=[key for key in self._stream_keys(settings) if key in origin.parent.streams or not is_part],
            member_names=self.config.member_names,
            after=origin,
        )
        return self._begin(run, visitor_key, client)

    def changing(self, visitor_key: str) -> AbstractContextManager[None]:
        """Until the block ends, nothing of the visitor's is deleted. Raises BusyError."""
        return self._runs.changing(owner_of(visitor_key))

    def rerun(self, visitor_key: str, run_id: str, *, client: str = "") -> LiveRun:
        """Repeat a prompt with the same settings, as a new conversation."""
        run = self.history.find(visitor_key, run_id)
        return self.start(visitor_key, run.prompt, run.settings.model_dump(), repeats=run, client=client)

    def _continued(self, visitor_key: str, conversation_id: str) -> Continued:
        """A conversation with its newest run as the last turn; without turns if all runs are damaged."""
        runs = self.history.conversation(visitor_key, conversation_id)
        return Continued(conversation_id, (*runs[-1].turns, runs[-1].as_turn()) if runs else ())

    def _begin(self, run: LiveRun, visitor_key: str, client: str) -> LiveRun:
        run.client = client
        run.has_consent = self.consents.has(run.owner)

        def take() -> None:
            self._runs.add(run)
            # Now, so that the row exists before the run's answers.
            self._recorder.started(run, visitor_key)

        self.carry_out(run, on_taken=take, on_ended=lambda: self._recorder.finished(run))
        return run

    def carry_out(self, run: LiveRun, *, on_taken: Callable[[], None], on_ended: Callable[[], None]) -> None:
        """Queue a run, also for other services; see `Runner.put`. Raises RequestError, BusyError."""
        for key, stream in run.streams.items():
            if stream.finished is None:
                self.ready_ensemble().check_prompt(stream.messages, run.settings_of(key), alone=run.alone_in(key))
        self._runner.put(run, on_taken, on_ended)

    def halt(self, run: LiveRun) -> None:
        """End a run of any owner within one step, and wait for that."""
        self._runner.stop_all([run], END_TIMEOUT_S)

    def forget_read(self, visitor_key: str, conversation_id: str) -> None:
        """Drop a visitor's conversation from the prefix caches, also for other services."""
        self._runner.forget(owner_of(visitor_key), conversation_id)

    def _stream_keys(self, settings: Settings) -> list[str]:
        return [ENSEMBLE, *(member_stream(name) for name in self.config.taking_part(settings))]

    def ready_ensemble(self) -> Ensemble:
        """The ensemble. While it is not ready, raises GacError with the reason."""
        if self._runner.ensemble is not None:
            return self._runner.ensemble
        failed = [state for state in self.member_states() if state.phase == "failed"]
        if failed:
            raise GacError(f"{failed[0].name} could not be loaded: {failed[0].detail}")
        raise GacError("The models are still loading. Their state is shown above; please try again in a moment.")

    def stop(self, visitor_key: str, run_id: str) -> None:
        """End a run within one step. Does nothing if it is over."""
        self._runner.stop(self._runs.find(owner_of(visitor_key), run_id))

    # --- streaming

    def following(self, run: RunView) -> AbstractContextManager[None]:
        """A page follows the run until the block ends. Soon after the last page has left, the run ends."""
        return self.audience.following(run) if isinstance(run, LiveRun) else nullcontext()

    def note_seen(self, visitor_key: str, run_id: str) -> None:
        """A page shows the run, which then continues for `Audience.unseen_s` without one."""
        run = self.history.find(visitor_key, run_id)
        if isinstance(run, LiveRun):
            self.audience.note_seen(run)

    def num_beside(self, run: RunView) -> int:
        """The number of other runs that are decoding."""
        return sum(other.status == RunStatus.RUNNING and other is not run for other in self._runs.all())


def config_hash_of(config: Config) -> str:
    """Identifies the configuration of a result."""
    return hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:16]


def checked_prompt(prompt: str) -> str:
    if not isinstance(prompt, str):
        raise RequestError("prompt", "expected text")
    if len(prompt) > MAX_PROMPT_CHARS:
        raise RequestError("prompt", f"has {len(prompt):,} characters; at most {MAX_PROMPT_CHARS:,} are taken")
    if not prompt.strip():
        raise RequestError("prompt", "is empty; type something to answer")
    return clean_text(prompt)
