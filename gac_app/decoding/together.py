"""Several answers decoded by one thread, a step of each in turn, for where threads are not available."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.loop import Branch
from gac_app.decoding.trace import Event
from gac_app.errors import UNEXPECTED, GacError, without_folders
from gac_app.models.message import Message
from gac_app.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Part:
    """One of the answers, as plain values, so that it can be sent to another process. `key` identifies it; for the
    other fields see `Ensemble.session`.
    """

    key: str
    messages: tuple[Message, ...]
    settings: Settings
    alone: str | None = None
    branch: Branch | None = None


# (key, event); if a part fails, its last event is replaced by a message.
Together = Generator[tuple[str, Event | str], None, None]
DecodesTogether = Callable[[tuple[Part, ...]], Together]


def decode_together(ensemble: Ensemble, parts: tuple[Part, ...]) -> Together:
    """Decode all parts. Closing the generator frees the members' sequences."""
    streams = {part.key: _events(ensemble, part) for part in parts}
    try:
        while streams:
            for key, events in list(streams.items()):
                try:
                    yield key, next(events)
                except StopIteration:
                    del streams[key]
                except GacError as error:  # the others continue
                    del streams[key]
                    yield key, without_folders(error.user_message)
                except Exception:
                    del streams[key]
                    logger.exception("the stream %s broke", key)
                    yield key, UNEXPECTED
    finally:
        for events in streams.values():
            events.close()


def _events(ensemble: Ensemble, part: Part) -> Generator[Event, None, None]:
    session = ensemble.session(list(part.messages), part.settings, alone=part.alone, branch=part.branch)
    yield from session.events()
