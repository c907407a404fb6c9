"""Runs: one prompt answered by the ensemble and by every member alone, all at once.

Everything that a visitor may do goes through `RunService`, which checks whose it is: the page is not trusted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Protocol

from gac_app.config import MAX_PROMPT_CHARS, Config, Settings
from gac_app.decoding.trace.events import StepTrace
from gac_app.errors import GacError, NotFoundError, RequestError, StorageError
from gac_app.services.audience import Audience
from gac_app.services.consent import Consents
from gac_app.services.live_runs import LiveRuns, owner_of
from gac_app.services.members import MemberState, MemberStates
from gac_app.services.mirror import Mirror
from gac_app.services.recorder import Recorder
from gac_app.services.revisions import Revisions
from gac_app.services.runner import Runner
from gac_app.services.settling import settle
from gac_app.services.views import ENSEMBLE, LiveRun, Origin, RunView, alone_in, member_stream, stored_view
from gac_app.storage import (
    ConversationSummary,
    HistoryFilter,
    RunStatus,
    RunSummary,
    Store,
    StoredRun,
    Turn,
    clean_text,
)

if TYPE_CHECKING:  # it loads torch, which the page need not wait for
    from gac_app.decoding.ensemble import Ensemble
    from gac_app.decoding.together import DecodesTogether

__all__ = ["LiveRun", "RunService", "RunView"]

MAX_NAME_CHARS = 120  # of a conversation
END_TIMEOUT_S = 10.0  # for a stopped run to end
CLOSE_TIMEOUT_S = 2.0  # for all of them, when the process ends


class Companion(Protocol):
    """What works through a `RunService` for visitors, and is told when it must not go on."""

    def forget(self, visitor_key: str) -> None: ...

    def close(self) -> None: ...


class RunService:
    """Starts, shows, stops, judges and forgets runs.

    Args:
        config: members, default settings, how many runs at once.
        store: where runs are kept.
        versions: of the packages that decide a result; stored with each run.

    Attributes:
        config_hash, versions: tell what a result was made with.
        companions: told of a visitor who deletes everything, and of the end.
        on_vote: told of a visitor's run whose vote has come, changed or gone.
        consents: whose runs are handed on.
        mirror: where to, if anywhere.
        kept: gives what each member keeps of ended runs, as JSON-able values by its name.
    """

    def __init__(self, config: Config, store: Store, versions: dict[str, str] | None = None) -> None:
        self.config = config
        self.states = MemberStates(config)
        self.companions: list[Companion] = []
        self.kept: Callable[[], dict[str, Any]] = dict
        self.on_vote: Callable[[str, RunView], None] = lambda _, run: None
        self.consents = Consents()
        self.mirror: Mirror | None = None
        self._store = store
        self.config_hash = config_hash_of(config)
        self.versions = versions or {}
        self._recorder = Recorder(store, self.config_hash, self.versions)
        self._runner = Runner(config)
        self._runs = LiveRuns()
        self.audience = Audience(self._runner.stop)
        self.revisions = Revisions(self)

    # --- the members

    def use(
        self,
        ensemble: Ensemble,
        kept: Callable[[], dict[str, Any]] = dict,
        decodes_together: DecodesTogether | None = None,
    ) -> None:
        """From now on runs can be started.

        Args:
            kept: see the attribute.
            decodes_together: decodes all streams of a run, in the place of a thread for each.
        """
        self.kept = kept
        self._runner.decodes_together = decodes_together
        self._runner.ensemble = ensemble

    def member_states(self) -> list[MemberState]:
        return self.states.all()

    def member_speeds(self) -> dict[str, float]:
        """Tokens a second of each member alone in the last run that says so."""
        ended = [(s.name, s.finished) for run in self._runs.all() for key, s in run.streams.items() if alone_in(key)]
        return {name: end.tokens_per_s for name, end in ended if end and end.tokens_per_s}

    @property
    def is_ready(self) -> bool:
        return self._runner.ensemble is not None

    def check_storage(self) -> None:
        """Raise StorageError where the database cannot be written."""
        self._store.check()

    def close(self) -> None:
        """Stop every run, write what is to be written, and release the models."""
        for companion in self.companions:
            companion.close()
        self._runner.stop_all(self._runs.all(), CLOSE_TIMEOUT_S)
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
    ) -> LiveRun:
        """Answer a prompt, as the next turn of a conversation if one is named.

        Args:
            changes: settings that differ from the configuration's.
            repeats: the run that this one is once more, if it is.
            client: where it comes from, as `client_of` tells it; clients take turns.

        Raises:
            RequestError: where prompt or settings do not fit, naming the field.
            NotFoundError: where the conversation is not this visitor's.
            BusyError: where too many runs wait.
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
                turns=self._turns(visitor_key, conversation_id) if conversation_id else (),
                conversation_id=conversation_id or None,
                repeats_run_id=repeats.id if repeats else None,
            )
            run.seeds = dict(repeats.seeds) if repeats else {}
            return self._begin(run, visitor_key, client)

    def ask(self, visitor_key: str, prompt: str, settings: Settings, origin: Origin, *, client: str = "") -> LiveRun:
        """Answer a prompt in the place of an earlier run; to be called while `changing`."""
        self.ready_ensemble()
        is_part = bool(origin.kept or origin.branches)  # what comes anew goes on from the parent's own answers
        run = LiveRun(
            owner=owner_of(visitor_key),
            prompt=checked_prompt(prompt),
            settings=settings,
            keys=[key for key in self._stream_keys(settings) if key in origin.parent.streams or not is_part],
            member_names=self.config.member_names,
            origin=origin,
        )
        return self._begin(run, visitor_key, client)

    def changing(self, visitor_key: str) -> AbstractContextManager[None]:
        """Nothing of the visitor's is deleted until the block ends. Raises BusyError."""
        return self._runs.changing(owner_of(visitor_key))

    def branch(self, visitor_key: str, run_id: str, position: int, token_id: int, *, client: str = "") -> LiveRun:
        """Go on from the middle of an ensemble answer with another token, in every stream.

        Args:
            position: of the ensemble's token to be replaced.
            token_id: one of the alternatives that the step's trace lists.
        """
        from gac_app.decoding.loop.session import Branch

        ensemble = self.ready_ensemble()
        with self.changing(visitor_key):
            parent = self.find(visitor_key, run_id)
            steps = parent.streams[ENSEMBLE].steps if ENSEMBLE in parent.streams else ()
            step = _step_at(steps, position)
            listed = {c.token_id: c.token for c in (*step.top, *(c for member in step.members for c in member.top))}
            if token_id not in listed:
                raise RequestError("token", "is none of the alternatives listed for this step")
            branch = Branch(tuple(steps[:position]), listed[token_id])
            ensemble.check_branch(branch)
            settings = self.config.settings_from(parent.settings.model_dump())
            swap, branches = (step.token, listed[token_id]), dict.fromkeys(parent.streams, branch)
            origin = Origin(parent, position, swap, branches=branches, seeds=parent.seeds)
            return self.ask(visitor_key, parent.prompt, settings, origin, client=client)

    def rerun(self, visitor_key: str, run_id: str, *, client: str = "") -> LiveRun:
        """The same prompt and settings once more, as a new conversation."""
        run = self.find(visitor_key, run_id)
        return self.start(visitor_key, run.prompt, run.settings.model_dump(), repeats=run, client=client)

    def _turns(self, visitor_key: str, conversation_id: str) -> tuple[Turn, ...]:
        """What the next turn of a conversation goes on from: its newest run, and what that one went on from."""
        runs = self.conversation(visitor_key, conversation_id)
        return (*runs[-1].turns, runs[-1].as_turn()) if runs else ()  # none where all of them are damaged

    def _begin(self, run: LiveRun, visitor_key: str, client: str) -> LiveRun:
        run.client = client
        run.has_consent = self.consents.has(run.owner)

        def take() -> None:
            self._runs.add(run)
            # Now, so that the row is there when the run's answers come.
            self._recorder.started(run, visitor_key)

        self.carry_out(run, on_taken=take, on_ended=lambda: self._recorder.finished(run))
        return run

    def carry_out(self, run: LiveRun, *, on_taken: Callable[[], None], on_ended: Callable[[], None]) -> None:
        """Decode a run in its turn, be it another service's; see `Runner.put`. Raises RequestError, BusyError."""
        for key, stream in run.streams.items():
            if stream.finished is None:
                self.ready_ensemble().check_prompt(stream.messages, run.settings_of(key), alone=run.alone_in(key))
        self._runner.put(run, on_taken, on_ended)

    def halt(self, run: LiveRun) -> None:
        """End a run within one step, whoever owns it, and wait until it has."""
        self._runner.stop_all([run], END_TIMEOUT_S)

    def forget_read(self, visitor_key: str, conversation_id: str) -> None:
        """Let the members keep nothing of what they read in a visitor's conversation, be it another service's."""
        self._runner.forget(owner_of(visitor_key), conversation_id)

    def _stream_keys(self, settings: Settings) -> list[str]:
        return [ENSEMBLE, *(member_stream(name) for name in self.config.taking_part(settings))]

    def ready_ensemble(self) -> Ensemble:
        """The ensemble; GacError while it is not ready, saying why."""
        if self._runner.ensemble is not None:
            return self._runner.ensemble
        failed = [state for state in self.member_states() if state.phase == "failed"]
        if failed:
            raise GacError(f"{failed[0].name} could not be loaded: {failed[0].detail}")
        raise GacError("The models are still loading. Their state is shown above; please try again in a moment.")

    def stop(self, visitor_key: str, run_id: str) -> None:
        """End a run within one step; nothing happens where it is over."""
        self._runner.stop(self._runs.find(owner_of(visitor_key), run_id))

    # --- looking at runs

    def following(self, run: RunView) -> AbstractContextManager[None]:
        """A page is sent what comes of a run until the block ends; the run does not go on for long after the last."""
        return self.audience.following(run) if isinstance(run, LiveRun) else nullcontext()

    def note_seen(self, visitor_key: str, run_id: str) -> None:
        """A page says that it shows a run, which then goes on for `Audience.unseen_s` without one."""
        run = self.find(visitor_key, run_id)
        if isinstance(run, LiveRun):
            self.audience.note_seen(run)

    def find(self, visitor_key: str, run_id: str) -> RunView:
        """A visitor's run, live or stored. Raises NotFoundError for another's as for none."""
        try:
            return self._runs.find(owner_of(visitor_key), run_id)
        except NotFoundError:
            return self._view(self._store.load_run(visitor_key, run_id))

    def look(self, visitor_key: str, run_id: str) -> RunView:
        """A visitor's own run, or one that is shared: that one alone, neither its conversation nor its owner's vote."""
        try:
            return self.find(visitor_key, run_id)
        except NotFoundError:
            if not self.config.server.is_sharing:
                raise
        run = self._view(self._store.load_shared(run_id))
        run.is_own, run.conversation_id, run.outcome, run.num_deleted_turns = False, "", None, 0
        run.parent_run_id = run.repeats_run_id = None
        return run

    def share(self, visitor_key: str, run_id: str, is_shared: bool) -> None:
        """Let anybody who has its link read a run, or no longer."""
        if is_shared and not self.config.server.is_sharing:
            raise RequestError("share", "is off on this server; its operator can turn it on (server.sharing)")
        run = self.find(visitor_key, run_id)
        if run.is_saved is not True:
            raise RequestError("share", "takes a run that is over and saved")
        settle(self._store.share_run(visitor_key, run_id, is_shared))
        run.is_shared = is_shared

    def run_before(self, visitor_key: str, run: RunView) -> RunView | None:
        """The run that `run` repeats; None where it is gone, or a branch, or other members', or lacks a turn now."""
        before = self._still_there(visitor_key, run.repeats_run_id)
        if before is None or before.branch_position is not None or before.num_deleted_turns:
            return None
        return before if before.member_names == run.member_names else None

    def num_beside(self, run: RunView) -> int:
        """How many other runs decode."""
        return sum(other.status == RunStatus.RUNNING and other is not run for other in self._runs.all())

    def run_beside(self, visitor_key: str, run: RunView) -> RunView | None:
        """The run of the same prompt and members in whose place `run` came with other settings, if there is one."""
        parent = None if run.branch_position is not None else self._still_there(visitor_key, run.parent_run_id)
        if parent is None or ENSEMBLE not in parent.streams:
            return None
        is_alike = (parent.prompt, parent.member_names) == (run.prompt, run.member_names)
        is_other = parent.settings.model_copy(update={"max_new_tokens": run.settings.max_new_tokens}) != run.settings
        return parent if is_alike and is_other else None

    def _still_there(self, visitor_key: str, run_id: str | None) -> RunView | None:
        """A run that another one names; None where it names none, or where that is gone or cannot be read."""
        try:
            return self.find(visitor_key, run_id) if run_id is not None else None
        except (NotFoundError, StorageError):
            return None

    def steps(self, visitor_key: str, run_id: str, stream: str, position: int) -> tuple[Sequence[StepTrace], Settings]:
        """The steps of a stream, of which there is one at `position`, and the settings they were made with."""
        run = self.look(visitor_key, run_id)
        if stream not in run.streams:
            raise RequestError("stream", f"expected one of {', '.join(run.streams)}")
        steps = run.streams[stream].steps
        _step_at(steps, position)
        return steps, run.settings

    def history(self, visitor_key: str, search: str = "", limit: int = 50, offset: int = 0) -> list[RunSummary]:
        """A visitor's stored runs, newest first."""
        owner_of(visitor_key)
        return self._store.list_runs(visitor_key, clean_text(search), limit, offset)

    def conversations(
        self, visitor_key: str, wanted: HistoryFilter, limit: int = 30, offset: int = 0
    ) -> list[ConversationSummary]:
        """A visitor's stored conversations that hold a wanted run."""
        owner_of(visitor_key)
        return self._store.list_conversations(visitor_key, wanted, limit, offset)

    def name_conversation(self, visitor_key: str, conversation_id: str, name: str) -> None:
        """Name a conversation, or with a blank name take its name away."""
        if len(name) > MAX_NAME_CHARS:
            raise RequestError("name", f"has {len(name):,} characters; at most {MAX_NAME_CHARS} are taken")
        settle(self._store.name_conversation(visitor_key, conversation_id, clean_text(name).strip()))

    def star_conversation(self, visitor_key: str, conversation_id: str, is_starred: bool) -> None:
        settle(self._store.star_conversation(visitor_key, conversation_id, is_starred))

    def conversation(self, visitor_key: str, conversation_id: str) -> list[RunView]:
        """A conversation's runs in order, those not stored yet included. Raises NotFoundError where it has none."""
        live = {r.id: r for r in self._runs.of(owner_of(visitor_key)) if r.conversation_id == conversation_id}
        try:
            stored = [self._view(run) for run in self._store.conversation_runs(visitor_key, conversation_id)]
        except (NotFoundError, StorageError):
            if not live:
                raise
            stored = []
        known = {run.id for run in stored}
        return [live.get(run.id, run) for run in stored] + [run for run in live.values() if run.id not in known]

    def _view(self, run: StoredRun) -> RunView:
        try:
            # Runs stored before there was a choice of alignment were the paper's.
            settings = Settings.model_validate({"alignment": "paper", **run.settings})
        except ValueError:  # stored by a version whose settings were others
            settings = self.config.settings
        return stored_view(run, settings)

    # --- judging and forgetting

    def vote(self, visitor_key: str, run_id: str, outcome: str) -> None:
        """Prefer an answer; a run that still decodes goes on.

        Args:
            outcome: a stream's key ("ensemble", "member:NAME"), "tie" or "all-bad".

        Raises:
            RequestError, NotFoundError, StorageError.
        """
        run = self.find(visitor_key, run_id)
        if outcome not in run.outcomes:
            raise RequestError("outcome", f"expected one of {', '.join(run.outcomes)}")
        settle(self._store.vote(visitor_key, run_id, outcome))
        run.outcome = outcome
        self.on_vote(visitor_key, run)

    def undo_vote(self, visitor_key: str, run_id: str) -> None:
        """Take the vote on a run back."""
        run = self.find(visitor_key, run_id)
        settle(self._store.undo_vote(visitor_key, run_id))
        run.outcome = None
        self.on_vote(visitor_key, run)

    def delete_run(self, visitor_key: str, run_id: str) -> None:
        """Forget a run with all its text: in memory, in the database's files, in what later turns are fed.

        Later turns that still decode have read it, so they are stopped; their conversation goes on without it.
        """
        owner = owner_of(visitor_key)
        with self._runs.changing(owner):
            live = self._runs.of(owner)
            doomed = [run for run in live if run.id == run_id]
            conversation_id = doomed[0].conversation_id if doomed else self._store.conversation_of(visitor_key, run_id)
            readers = [run for run in live if any(turn.run_id == run_id for turn in run.turns)]
            self._runs.remove(doomed)
            self._runner.stop_all([*doomed, *readers], END_TIMEOUT_S)
            for run in readers:
                run.forget_turn(run_id)
            self._runner.forget(owner, conversation_id)
            try:
                settle(self._store.delete_run(visitor_key, run_id))
            except NotFoundError:
                if not doomed:  # else it was never stored
                    raise
            self.note_deleted()

    def delete_runs(self, visitor_key: str, run_ids: Sequence[str]) -> None:
        """Forget several runs, one after another; those that are gone already are no error."""
        for run_id in run_ids:
            with suppress(NotFoundError):
                self.delete_run(visitor_key, run_id)

    def delete_conversation(self, visitor_key: str, conversation_id: str) -> None:
        """Forget all runs of a conversation, the newest first, and its name."""
        self.delete_runs(visitor_key, self._store.run_ids_of(visitor_key, conversation_id))

    def delete_all(self, visitor_key: str) -> None:
        """Forget everything of a visitor."""
        owner = owner_of(visitor_key)
        with self._runs.changing(owner):  # nothing of theirs begins meanwhile
            for companion in self.companions:
                companion.forget(visitor_key)
            live = self._runs.of(owner)
            self._runs.remove(live)
            self._runner.stop_all(live, END_TIMEOUT_S)
            self._runner.forget(owner)
            settle(self._store.delete_visitor(visitor_key))
            self.note_deleted()

    def note_deleted(self) -> None:
        """What was deleted is handed on no more. Raises StorageError where that cannot be written at the moment."""
        if self.mirror:
            self.mirror.settle_deletions()


def config_hash_of(config: Config) -> str:
    """Tells which configuration a result was made with."""
    return hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:16]


def checked_prompt(prompt: str) -> str:
    if not isinstance(prompt, str):
        raise RequestError("prompt", "expected text")
    if len(prompt) > MAX_PROMPT_CHARS:
        raise RequestError("prompt", f"has {len(prompt):,} characters; at most {MAX_PROMPT_CHARS:,} are taken")
    if not prompt.strip():
        raise RequestError("prompt", "is empty; type something to answer")
    return clean_text(prompt)


def _step_at(steps: Sequence[StepTrace], position: int) -> StepTrace:
    if not steps:
        raise RequestError("position", "this answer has no steps")
    if isinstance(position, bool) or not isinstance(position, int) or not 0 <= position < len(steps):
        raise RequestError("position", f"expected a whole number from 0 to {len(steps) - 1}")
    return steps[position]
