"""Runs: one prompt answered by the ensemble and by every member alone, all at once.

Everything that a visitor may do goes through `RunService` and its `history`, which check the owner: the page is not
trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

from gac_app.config import MAX_PROMPT_CHARS, Config
from gac_app.errors import Phrase, RequestError, too_long
from gac_app.evaluation.running import digest_of, facts_of_members
from gac_app.services.members import Members
from gac_app.services.mirror.mirror import Mirror
from gac_app.services.runs.history import END_TIMEOUT_S, DependentService, History
from gac_app.services.runs.live_run import LiveRun, RunPlan
from gac_app.services.runs.live_runs import LiveRuns
from gac_app.services.runs.metrics import Metrics
from gac_app.services.runs.recorder import Recorder
from gac_app.services.runs.revisions import branched, compared, extended, regenerated, replacing
from gac_app.services.runs.runner import Runner
from gac_app.services.runs.views import ENSEMBLE, RunView, alone_in, is_over, member_stream
from gac_app.services.visitors import owner_of
from gac_app.storage import RunStatus, Store, clean_text

__all__ = ["LiveRun", "RunService", "RunView"]

CLOSE_TIMEOUT_S = 2.0  # for all of them, when the process ends


class RunService:
    """Starts, streams and stops runs. Its `history` finds, judges and deletes them.

    Args:
        config: members, default settings, how many runs at once.
        store: keeps the runs.
        versions: of the packages that affect results; stored with each run.
        members: of this configuration; None = made here.
        mirror: has the votes that visitors agree to publish.

    Attributes:
        config_hash, versions: identify what a result was made with.
        members: they answer once they are ready.
        metrics: what was decoded, and what goes on.
        companions: called when a visitor deletes everything, and on closing.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        versions: Mapping[str, str] | None = None,
        *,
        members: Members | None = None,
        mirror: Mirror | None = None,
    ) -> None:
        self.config = config
        self.config_hash = config_hash_of(config)
        self.versions = versions or {}
        self.members = members or Members(config)
        self.mirror = mirror
        self.companions: list[DependentService] = []
        self._store = store
        self._recorder = Recorder(store, self.config_hash, self.versions)
        self.metrics = Metrics()
        self.metrics.show("database_errors", "Writes lost since the start.", lambda: store.num_errors)
        self._runner = Runner(config, self.members, self.metrics)
        self._runs = LiveRuns()
        self.history = History(config, store, self._runs, self._runner, self.members, mirror, self.companions)

    def when_ended(self, tell: Callable[[LiveRun], None]) -> None:
        """`tell` is called with each run that has ended."""
        self._runner.on_ended.append(tell)

    def start_mirror(self) -> None:
        """Publish votes from now on, and bring back those of before, in the background; called once the page is up."""
        if self.mirror:
            self.mirror.start()

    def member_speeds(self) -> dict[str, float]:
        """Tokens per second of each member alone, in the last run that measured it."""
        ended = [(s.name, s.finished) for run in self._runs.all() for key, s in run.streams.items() if alone_in(key)]
        return {name: end.tokens_per_s for name, end in ended if end and end.tokens_per_s}

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
        self.members.close()

    # --- starting runs

    def start(
        self,
        visitor_key: str,
        prompt: str,
        changes: Mapping[str, Any],
        conversation_id: str | None = None,
        *,
        after: str = "",
        repeats: RunView | None = None,
        client: str = "",
        is_of_batch: bool = False,
    ) -> LiveRun:
        """Answer a prompt, as the next turn of a conversation if one is named.

        Args:
            changes: settings that differ from the configuration's.
            after: the conversation's run that it continues; "" = the newest.
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
        self.members.ensemble()
        prompt, settings = checked_prompt(prompt), self.config.settings_from(changes)
        with self._runs.changing(owner):
            plan = RunPlan(
                prompt=prompt,
                settings=settings,
                conversation_id=conversation_id or "",
                **self._turns(visitor_key, conversation_id, after) if conversation_id else {},
                repeats_run_id=repeats.id if repeats else None,
                seeds=repeats.seeds if repeats else {},
            )
            return self._begin(visitor_key, plan, client, is_of_batch=is_of_batch)

    def changing(self, visitor_key: str) -> AbstractContextManager[None]:
        """Until the block ends, nothing of the visitor's is deleted. Raises BusyError."""
        return self._runs.changing(owner_of(visitor_key))

    def rerun(self, visitor_key: str, run_id: str, *, client: str = "") -> LiveRun:
        """Repeat a prompt with the same settings, as a new conversation."""
        run = self.history.find(visitor_key, run_id)
        return self.start(visitor_key, run.prompt, run.settings.model_dump(), repeats=run, client=client)

    # --- replacing an earlier run; each raises as `start`, and NotFoundError for another visitor's run

    def revise(
        self, visitor_key: str, run_id: str, prompt: str, changes: Mapping[str, Any], *, client: str = ""
    ) -> LiveRun:
        """Ask again with another prompt or other settings, after the same turns.

        Args:
            changes: settings that differ from the configuration's.
        """
        new = {"prompt": checked_prompt(prompt), "settings": self.config.settings_from(changes)}
        return self._replace(visitor_key, run_id, lambda parent: replacing(parent, **new), client)

    def compare(self, visitor_key: str, run_id: str, changes: Mapping[str, Any], *, client: str = "") -> LiveRun:
        """Ask the ensemble again with other settings, so that the two answers stand side by side; as `revise`."""
        settings = self.config.settings_from(changes)
        return self._replace(visitor_key, run_id, lambda parent: compared(parent, settings), client)

    def branch(self, visitor_key: str, run_id: str, position: int, token_id: int, *, client: str = "") -> LiveRun:
        """Continue an ensemble answer from its middle with another token; see `branched`. The run may still decode."""
        ensemble = self.members.ensemble()
        return self._replace(
            visitor_key, run_id, lambda parent: branched(parent, ensemble, position, token_id), client, may_decode=True
        )

    def regenerate(self, visitor_key: str, run_id: str, stream: str, *, client: str = "") -> LiveRun:
        """Regenerate one stream's answer; see `regenerated`."""

        def plan(parent: RunView) -> RunPlan:
            runs = self.history.conversation(visitor_key, parent.conversation_id)
            return regenerated(parent, stream, [run for run in runs if run.turn_ids == parent.turn_ids])

        return self._replace(visitor_key, run_id, plan, client)

    def extend(self, visitor_key: str, run_id: str, stream: str = "", *, client: str = "") -> LiveRun:
        """Continue answers that were stopped or reached their limit of tokens; see `extended`."""
        ensemble = self.members.ensemble()
        return self._replace(visitor_key, run_id, lambda parent: extended(parent, ensemble, stream), client)

    def _replace(
        self, visitor_key: str, run_id: str, of: Callable[[RunView], RunPlan], client: str, *, may_decode: bool = False
    ) -> LiveRun:
        with self.changing(visitor_key):
            parent = self.history.find(visitor_key, run_id)
            if not (may_decode or is_over(parent)):
                raise RequestError("run", Phrase("This run is not over yet."))
            plan = of(parent)
            self.members.ensemble()
            settings = self.config.settings_from(plan.settings.model_dump())  # checked against today's members
            return self._begin(visitor_key, replace(plan, settings=settings), client)

    def _turns(self, visitor_key: str, conversation_id: str, after: str) -> dict[str, Any]:
        """The turns of a conversation, with `after` or its newest run as the last; none if all runs are damaged."""
        runs = self.history.conversation(visitor_key, conversation_id)
        last = next((run for run in runs if run.id == after), runs[-1] if runs else None)
        if last and not is_over(last):
            raise RequestError("prompt", Phrase("The answers are still coming. Wait for their end, or stop them."))
        return {"turns": (*last.turns, last.as_turn()), "turn_ids": (*last.turn_ids, last.id)} if last else {}

    def _begin(self, visitor_key: str, plan: RunPlan, client: str, *, is_of_batch: bool = False) -> LiveRun:
        """Queue a run. Call this inside `changing`."""
        keys = [ENSEMBLE, *map(member_stream, self.config.taking_part(plan.settings))]
        keys = [key for key in keys if plan.streams is None or key in plan.streams]
        if plan.kept.keys() >= set(keys):
            raise RequestError("stream", Phrase("This server no longer has the model of this answer."))
        run = LiveRun(
            plan,
            owner=owner_of(visitor_key),
            keys=keys,
            member_names=self.config.member_names,
        )
        run.client, run.is_of_batch = client, is_of_batch

        def take() -> None:
            self._runs.add(run)
            # Now, so that the row exists before the run's answers.
            self._recorder.started(run, visitor_key)

        self.carry_out(run, on_taken=take, on_ended=lambda: self._recorder.finished(run))
        return run

    def carry_out(self, run: LiveRun, *, on_taken: Callable[[], None], on_ended: Callable[[], None]) -> None:
        """Queue a run, also for other services; see `Runner.put`. Raises RequestError, BusyError."""
        self._runner.put(run, on_taken, on_ended)

    def halt(self, *runs: LiveRun, timeout_s: float = END_TIMEOUT_S) -> None:
        """End runs of any owner within one step, and wait for that, at most so long for all of them."""
        self._runner.stop_all(runs, timeout_s)

    def stop(self, visitor_key: str, run_id: str) -> None:
        """End a run of this process within one step. Does nothing if it is over."""
        self._runner.stop(self._runs.find(owner_of(visitor_key), run_id))

    # --- streaming

    def following(self, run: RunView) -> AbstractContextManager[None]:
        """See `Runner.following`."""
        return self._runner.following(run) if isinstance(run, LiveRun) else nullcontext()

    def note_seen(self, visitor_key: str, run_id: str) -> None:
        """A page shows the run, which then continues for a while without one."""
        run = self.history.find(visitor_key, run_id)
        if isinstance(run, LiveRun):
            run.is_seen = True

    def num_beside(self, run: RunView) -> int:
        """The number of other runs that are decoding."""
        return sum(other.status == RunStatus.RUNNING and other is not run for other in self._runs.all())


def config_hash_of(config: Config) -> str:
    """Identifies what of the configuration answers: no port, key or limit, nor what a release adds of that kind."""
    answering: dict[str, Any] = dict.fromkeys(("settings", "control_tokens", "plugins"), True)
    answering["arena"] = {"contestants", "temperature"}
    return digest_of([facts_of_members(config), config.model_dump(mode="json", include=answering)])[:16]


def checked_prompt(prompt: str) -> str:
    if not isinstance(prompt, str):
        raise RequestError("prompt", "expected text")
    if len(prompt) > MAX_PROMPT_CHARS:
        raise RequestError("prompt", too_long(len(prompt), MAX_PROMPT_CHARS))
    if not prompt.strip():
        raise RequestError("prompt", Phrase("Enter a prompt."))
    return clean_text(prompt)
