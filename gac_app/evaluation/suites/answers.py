"""A greedy continuation of a prompt, as bytes, because decoded text can hide errors."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gac_app.decoding.trace import FinishedEvent, FinishReason, TokenEvent
from gac_app.errors import GacError
from gac_app.settings import Settings

if TYPE_CHECKING:
    from gac_app.decoding.ensemble import Ensemble

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True)
class Answer:
    """The continuation of `prompt`.

    Attributes:
        content: the bytes of all tokens.
        is_stopped: it ended before the limit of new tokens.
    """

    prompt: str
    content: bytes
    is_stopped: bool = False

    @property
    def text(self) -> str:
        """The content as text, with U+FFFD for invalid UTF-8, without a character that the limit cut off."""
        return codecs.getincrementaldecoder("utf-8")("replace").decode(self.content, final=self.is_stopped)

    @property
    def is_valid_utf8(self) -> bool:
        """Whether the text is valid UTF-8 and holds no replacement character."""
        return REPLACEMENT not in self.text

    @property
    def document(self) -> str:
        """Prompt and answer. If the answer ended before the limit, its last line is complete."""
        return self.prompt + self.text + ("\n" if self.is_stopped else "")


def answer(ensemble: Ensemble, prompt: str, settings: Settings, alone: str | None) -> Answer:
    """Continue `prompt` as a raw document. Raises GacError if a member fails."""
    content = bytearray()
    is_stopped = False
    for event in ensemble.generate(prompt, settings, alone=alone, raw=True):
        if isinstance(event, TokenEvent):
            content += event.step.token
        elif isinstance(event, FinishedEvent):
            if event.reason is FinishReason.ERROR:
                raise GacError(f"no answer to {prompt!r}: {event.detail}")
            is_stopped = event.reason is FinishReason.STOP
    return Answer(prompt, bytes(content), is_stopped)
