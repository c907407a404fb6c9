"""Chat templates with safe user text.

Messages are text, whatever they look like: `<|im_end|>` typed by a user must not become the control token. So the
template is rendered around placeholders, and the pieces are tokenised separately. Control tokens are recognised only in
the template's own pieces.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

from gac_app.errors import ModelLoadError
from gac_app.models.message import Message

PLAIN_STOP_STRINGS = ("\nUser:",)
_PLAIN_LABELS = {"user": "User", "assistant": "Assistant"}
# Surrounds contents while a template is rendered. No template writes this space, so if one is missing afterwards, the
# template has trimmed it.
_PAD = "\u2009"
# `{% generation %}` marks text for training and prints nothing.
_GENERATION_TAG = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of a rendered chat. Only a trusted one, written by the template, may contain control tokens."""

    text: str
    is_trusted: bool


class ChatFormat:
    """Lays messages out as one model expects them.

    Args:
        template: the model's Jinja chat template; empty or None = a plain `User: ... / Assistant:` layout.
        bos, eos: texts of the model's special tokens, which templates refer to.
        options: further arguments of the template, such as `enable_thinking`.

    Raises:
        ModelLoadError: the template is not valid Jinja.
    """

    def __init__(
        self, template: str | None, bos: str = "", eos: str = "", options: Mapping[str, Any] | None = None
    ) -> None:
        self._render: Callable[..., str] | None = _compile(template) if template else None
        # Such templates drop the reasoning of earlier answers, which they cannot see behind a placeholder.
        self._drops_reasoning = re.search(r"split\(.</think>.\)", template or "")
        self._given = {**(options or {}), "bos_token": bos, "eos_token": eos, "add_generation_prompt": True}

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """Texts that end a turn in a layout without end tokens."""
        return () if self._render else PLAIN_STOP_STRINGS

    def fragments(self, messages: list[Message]) -> list[Fragment]:
        """The chat up to where the assistant's next message begins.

        Raises:
            ModelLoadError: the template refuses the messages or leaves one out.
        """
        if self._render is None:
            return [Fragment(_plain_layout(messages), is_trusted=False)]
        if self._drops_reasoning:
            messages = [
                Message(m.role, re.split("</think>\n*", m.content)[-1]) if m.role == "assistant" else m
                for m in messages
            ]
        try:
            return self._splice(messages)
        except ModelLoadError:
            if messages[0].role != "system" or len(messages) < 2:
                raise
            # Some templates have no system role: its text then opens the first message.
            merged = Message(messages[1].role, f"{messages[0].content}\n\n{messages[1].content}")
            return self._splice([merged, *messages[2:]])

    def _splice(self, messages: list[Message]) -> list[Fragment]:
        nonce = secrets.token_hex(8)
        marks = [f"GAC{nonce}N{index}E" for index in range(len(messages))]
        padded = [{"role": m.role, "content": f"{_PAD}{mark}{_PAD}"} for m, mark in zip(messages, marks, strict=True)]
        assert self._render is not None  # noqa: S101
        try:
            text = self._render(**{**self._given, "messages": padded})
        except Exception as error:  # a template runs arbitrary expressions, so any exception counts as a refusal
            raise ModelLoadError(f"the chat template refuses these messages: {error}") from error
        contents = dict(zip(marks, (m.content for m in messages), strict=True))
        parts = re.split(f"({_PAD}?GAC{nonce}N\\d+E{_PAD}?)", text)
        written = {part.strip() for part in parts[1::2]}
        for message, mark in zip(messages, marks, strict=True):
            if mark not in written and message.content:
                raise ModelLoadError(f"the chat template leaves out a message of role {message.role!r}")
        return _joined(parts, contents)


def _joined(parts: list[str], contents: dict[str, str]) -> list[Fragment]:
    fragments: list[Fragment] = []
    carried = ""
    for index, part in enumerate(parts):
        if index % 2:
            content = contents[part.strip()]
            content = content if part.startswith(_PAD) else content.lstrip()
            content = content if part.endswith(_PAD) else content.rstrip()
            fragments.append(Fragment(carried + content, is_trusted=False))
        else:
            # A space before the content belongs to its first word in most vocabularies.
            trusted = part.rstrip(" ") if index + 1 < len(parts) else part
            carried = part[len(trusted) :]
            fragments.append(Fragment(trusted, is_trusted=True))
    return [fragment for fragment in fragments if fragment.text]


def _plain_layout(messages: list[Message]) -> str:
    lines = [
        f"{_PLAIN_LABELS[message.role]}: {message.content}" if message.role in _PLAIN_LABELS else f"{message.content}\n"
        for message in messages
    ]
    return "\n".join([*lines, "Assistant:"])


def _compile(template: str) -> Callable[..., str]:
    from jinja2 import TemplateError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().astimezone().strftime(form)
    try:
        return environment.from_string(_GENERATION_TAG.sub("", template)).render
    except TemplateError as error:
        raise ModelLoadError(f"the chat template is not valid Jinja: {error}") from error


def _refuse(message: str) -> NoReturn:
    raise ValueError(message)


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **_: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)
