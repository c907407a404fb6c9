"""Chats as transformers has them, a list of dictionaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from gac_app.errors import RequestError
from gac_app.models.message import Message, Role

Chat = Sequence[Mapping[str, str] | Message]
Prompt = str | Chat


def messages_of(prompt: Prompt) -> str | list[Message]:
    """A prompt as the engine takes it.

    >>> messages_of([{"role": "user", "content": "Hello"}])
    [Message(role='user', content='Hello')]

    Raises:
        RequestError: a message is not of this form.
    """
    if isinstance(prompt, str):
        return prompt
    if not isinstance(prompt, Sequence) or not prompt:
        raise RequestError("prompt", "expected a text, or a list of messages: {'role': 'user', 'content': '...'}")
    return [_message(message, number) for number, message in enumerate(prompt)]


def check_listed(name: str, texts: Any) -> None:
    """Raise RequestError if a list of texts is a single one."""
    if isinstance(texts, str):
        raise RequestError(name, "expected a list of texts; got a text")


def _message(message: Any, number: int) -> Message:
    if isinstance(message, Message):
        return message
    if not isinstance(message, Mapping) or set(message) != {"role", "content"}:
        raise RequestError("prompt", f"message {number}: expected a dictionary with 'role' and 'content' alone")
    role, content = message["role"], message["content"]
    if role not in get_args(Role):
        raise RequestError("prompt", f"message {number}: expected the role {', '.join(get_args(Role))}; got {role!r}")
    if not isinstance(content, str):
        raise RequestError("prompt", f"message {number}: expected a text as its content; got {type(content).__name__}")
    return Message(role, content)
