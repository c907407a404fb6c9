"""Runs that replace an earlier one in its conversation: with another prompt or settings, from another token on, with
one answer regenerated, or with answers extended beyond their limit. Each is a new run; the earlier one is unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gac_app.decoding.trace import FinishReason
from gac_app.errors import RequestError
from gac_app.services.runs.history import step_at
from gac_app.services.runs.live_run import LiveRun, LiveStream, Origin
from gac_app.services.runs.live_runs import owner_of
from gac_app.services.runs.views import ENSEMBLE, RunView, StreamView, is_over
from gac_app.settings import MAX_NEW_TOKENS, Settings

if TYPE_CHECKING:  # it loads torch, which the page need not wait for
    from gac_app.services.runs.runs import RunService

_MAX_SEED = 2**63 - 1


class Revisions:
    """Starts such runs. Every method raises as `RunService.start`, and NotFoundError for another visitor's run."""

    def __init__(self, service: RunService) -> None:
        self._service = service

    def revise(
        self, visitor_key: str, run_id: str, prompt: str, changes: Mapping[str, Any], *, client: str = ""
    ) -> LiveRun:
        """Ask again with another prompt or other settings, after the same turns.

        Args:
            changes: settings that differ from the configuration's.
        """
        with self._service.changing(visitor_key):
            parent = self._parent(visitor_key, run_id)
            settings = self._service.config.settings_from(changes)
            return self._service.ask(visitor_key, prompt, settings, Origin(parent), client=client)

    def branch(self, visitor_key: str, run_id: str, position: int, token_id: int, *, client: str = "") -> LiveRun:
        """Continue from the middle of an ensemble answer with another token, in every stream. The run may still decode.

        Args:
            position: of the ensemble's token to replace.
            token_id: an alternative listed in the step's trace.
        """
        from gac_app.decoding.loop import Branch

        ensemble = self._service.ready_ensemble()
        with self._service.changing(visitor_key):
            parent = self._service.history.find(visitor_key, run_id)
            steps = parent.streams[ENSEMBLE].steps if ENSEMBLE in parent.streams else ()
            step = step_at(steps, position)
            listed = {c.token_id: c.token for c in (*step.top, *(c for member in step.members for c in member.top))}
            if token_id not in listed:
                raise RequestError("token", "is none of the alternatives listed for this step")
            branch = Branch(tuple(steps[:position]), listed[token_id])
            ensemble.check_branch(branch)
            swap, branches = (step.token, listed[token_id]), dict.fromkeys(parent.streams, branch)
            origin = Origin(parent, position, swap, branches=branches, seeds=parent.seeds)
            return self._ask_again(visitor_key, parent, parent.settings, origin, client)

    def regenerate(self, visitor_key: str, run_id: str, stream: str, *, client: str = "") -> LiveRun:
        """Regenerate one stream's answer, sampled with the next seed. The other answers are copied."""
        with self._service.changing(visitor_key):
            parent = self._parent(visitor_key, run_id)
            if stream not in parent.streams:
                raise RequestError("stream", f"expected one of {', '.join(parent.streams)}")
            kept = {key: _copy(other) for key, other in parent.streams.items() if key != stream}
            seed = parent.seeds.get(stream, parent.settings.seed)
            origin = Origin(parent, kept=kept, seeds={**parent.seeds, stream: 0 if seed >= _MAX_SEED else seed + 1})
            return self._ask_again(visitor_key, parent, parent.settings, origin, client)

    def extend(self, visitor_key: str, run_id: str, *, client: str = "") -> LiveRun:
        """Continue the answers that reached their limit of tokens, for as many tokens again. Others are copied."""
        from gac_app.decoding.loop import Branch

        with self._service.changing(visitor_key):
            parent = self._parent(visitor_key, run_id)
            limit = parent.settings.max_new_tokens
            ended = {key for key, stream in parent.streams.items() if _is_at_limit(stream, limit)}
            if not ended:
                raise RequestError("run", "has no answer that ended at its limit of tokens")
            if limit >= MAX_NEW_TOKENS:
                raise RequestError("max_new_tokens", f"is at most {MAX_NEW_TOKENS:,}; this run has reached it")
            branches = {key: Branch(tuple(parent.streams[key].steps)) for key in ended}
            for branch in branches.values():
                self._service.ready_ensemble().check_branch(branch)
            settings = parent.settings.model_copy(update={"max_new_tokens": min(2 * limit, MAX_NEW_TOKENS)})
            kept = {key: _copy(stream) for key, stream in parent.streams.items() if key not in ended}
            origin = Origin(parent, kept=kept, branches=branches, seeds=parent.seeds)
            return self._ask_again(visitor_key, parent, settings, origin, client)

    def _ask_again(self, visitor_key: str, parent: RunView, settings: Settings, origin: Origin, client: str) -> LiveRun:
        # Checked against today's members.
        checked = self._service.config.settings_from(settings.model_dump())
        return self._service.ask(visitor_key, parent.prompt, checked, origin, client=client)

    def _parent(self, visitor_key: str, run_id: str) -> RunView:
        owner_of(visitor_key)
        parent = self._service.history.find(visitor_key, run_id)
        if not is_over(parent):
            raise RequestError("run", "is not over yet")
        return parent


def _copy(stream: StreamView) -> LiveStream:
    return LiveStream(stream.name, events=list(stream.events))


def _is_at_limit(stream: StreamView, limit: int) -> bool:
    end = stream.finished
    return end is not None and end.reason is FinishReason.LENGTH and end.num_tokens >= limit
