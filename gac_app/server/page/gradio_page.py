"""The mounted page as the host sees it: its events, and the state that Gradio keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio
from anyio import CapacityLimiter
from gradio import queueing

from gac_app.server.limits.bodies import RefusedError
from gac_app.server.page.sessions import MAX_SESSIONS
from gac_app.ui.requests import MAX_EVENTS


class GradioPage:
    """A page mounted by `gradio.mount_gradio_app`.

    Args:
        blocks: the page.
        app: Gradio's application of it.
    """

    def __init__(self, blocks: gradio.Blocks, app: Any) -> None:
        self._blocks, self._queue, self._app = blocks, blocks._queue, app
        app.state_holder.capacity = MAX_SESSIONS
        self._queue.max_thread_count = MAX_EVENTS
        blocks.limiter = CapacityLimiter(MAX_EVENTS)  # its own threads: health, metrics and the API have others

    # --- checks

    def check_event(self, body: Mapping[str, Any], *, is_queued: bool) -> None:
        """Raise RefusedError unless a body names an event of the page for this route, with its inputs."""
        index, data = body.get("fn_index"), body.get("data")
        function = self._blocks.fns.get(index) if isinstance(index, int) and not isinstance(index, bool) else None
        if function is None or function.fn is None or not _fits(function, is_queued=is_queued):
            raise RefusedError(404, "There is no such event.")
        if not isinstance(data, list):
            raise RefusedError(422, "data: expected a list.")
        if len(data) < len(function.inputs):
            raise RefusedError(422, f"data: expected {len(function.inputs)} values.")

    def check_call(self, body: Mapping[str, Any]) -> None:
        """Raise RefusedError unless a body names a function that a component offers to its script."""
        component, name = body.get("component_id"), body.get("fn_name")
        is_known = isinstance(component, int) and not isinstance(component, bool) and isinstance(name, str)
        block = self._blocks.blocks.get(component) if is_known else None
        if not getattr(getattr(block, str(name), None), "_is_server_fn", False):
            raise RefusedError(404, "There is no such function.")
        if "data" not in body:
            raise RefusedError(422, "data: expected a value.")

    # --- running events

    def has_stream(self, session_hash: str) -> bool:
        """Whether the session has, or had, a stream to listen to."""
        return session_hash in self._queue.pending_messages_per_session

    def events(self) -> list[queueing.Event]:
        """The queued and running events, oldest first. Their `enqueue_time` is monotonic."""
        return list(self._queue.event_ids_to_events.values())

    async def end_event(self, event: queueing.Event) -> None:
        """Remove an event without a listener from the queue; a running one ends at its next update. If it was the
        session's last, a late listener is told that there is nothing to wait for.
        """
        queue = self._queue
        await queue.clean_events(event_id=event._id)
        pending = queue.pending_event_ids_session.get(event.session_hash, set())
        pending.discard(event._id)
        if not pending:
            queue.pending_event_ids_session.pop(event.session_hash, None)
            queue.pending_messages_per_session.pop(event.session_hash, None)

    def forget(self, session_hash: str) -> None:
        """Drop all state of a session."""
        states, queue, blocks = self._app.state_holder, self._queue, self._blocks
        for kept in (
            *(states.session_data, states.time_last_used),
            *(queue.pending_messages_per_session, queue.pending_event_ids_session),
            *(blocks.pending_streams, blocks.pending_diff_streams),
        ):
            kept.pop(session_hash, None)


def _fits(function: Any, *, is_queued: bool) -> bool:
    """Whether an event may come by this route. Gradio's own client queues whatever it may call."""
    return bool(function.queue) == is_queued or function.api_visibility == "public"
