"""What each stream of a run is fed: its conversation so far, in its own words."""

from __future__ import annotations

from gac_app.config import Settings
from gac_app.models.message import Message
from gac_app.services.views import ENSEMBLE, RunView


def messages_for(key: str, prompt: str, settings: Settings, turns: list[RunView]) -> tuple[Message, ...]:
    """Each stream goes on with its own earlier answers; who took no part in the last turn, with the ensemble's.

    Args:
        key: of the stream.
        turns: of the conversation, in order.
    """
    messages: tuple[Message, ...] = ()
    for turn in reversed(turns):
        if stream := turn.streams.get(key) or turn.streams.get(ENSEMBLE):  # an interrupted run has none
            said = tuple(message for message in stream.messages if message.role != "system")
            messages = (*said, Message("assistant", stream.text))
            break
    system = (Message("system", settings.system_prompt),) if settings.system_prompt else ()
    return (*system, *messages, Message("user", prompt))
