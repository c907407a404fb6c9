"""Every error the project raises on purpose, and what people read of it.

GacError
├── ConfigError      the configuration file or a GAC_* variable is wrong
├── RequestError     one run's prompt or settings are wrong; `field` names the culprit
│   └── TooLongError the prompt does not fit a member's context
├── NotFoundError    no such run, or another visitor's; both look the same
├── ModelLoadError   a model's files cannot be fetched, trusted or loaded
├── VocabularyError  token bytes do not add up
├── MemberError      a member failed while running; `member` and `kind` say which and how
├── RuleError        a rule, mostly a plug-in, failed while running; `rule` says which
├── ConstraintError  what an answer may consist of leaves no next token
├── LoadingError     the members are not loaded yet
├── BusyError        the queue is full, or another limit is reached
│   └── LimitError   the caller's own limit is
└── StorageError     the database failed
    └── DamagedError a stored run can no longer be read; it can be deleted

A message says what is wrong and what is expected. It may be shown to the operator as it is, and to others after
`without_folders`. What visitors read is a `Phrase`: English with what it takes to say the same in another language. Its
template is the message's id, as in gettext; `static/words/de.json` has the translation under `server`. API, logs and
command line show the text, the page fills the template of its own language.
"""

from __future__ import annotations

import dis
import re
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any


class Phrase(str):
    """An English text made of a template and values.

    Args:
        template: with `{name}` for each value; what stands there instead of a value is never a template.
        values: texts that are the same in any language (names, quotations, figures), or phrases.

    >>> Phrase("up to {count} tokens", count=256)
    'up to 256 tokens'
    """

    template: str
    values: Mapping[str, str]

    def __new__(cls, template: str, **values: object) -> Phrase:
        texts = {name: value if isinstance(value, str) else str(value) for name, value in values.items()}
        self = super().__new__(cls, template.format_map(texts) if texts else template)
        self.template, self.values = template, texts
        return self

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, str]]:
        return (self.template,), dict(self.values)

    def with_values(self, change: Callable[[str], str]) -> Phrase:
        """The same with changed values, also those of the phrases in it."""
        return Phrase(self.template, **{name: changed(value, change) for name, value in self.values.items()})


def changed(text: str, change: Callable[[str], str]) -> str:
    """A text changed; of a phrase what fills it."""
    return text.with_values(change) if isinstance(text, Phrase) else change(text)


def joined(separator: str, parts: Sequence[str]) -> Phrase:
    """As `separator.join(parts)`, where each part is a phrase."""
    named = {f"part{number}": part if isinstance(part, Phrase) else Phrase(part) for number, part in enumerate(parts)}
    return Phrase(separator.join(f"{{{name}}}" for name in named), **named)


def packed(value: Any) -> Any:
    """The value with every phrase in it as `{"template", "values"}`, for JSON."""
    if isinstance(value, Phrase):
        return {"template": value.template, "values": {name: packed(one) for name, one in value.values.items()}}
    if isinstance(value, dict):
        return {key: packed(one) for key, one in value.items()}
    if isinstance(value, tuple):
        return tuple(map(packed, value))
    return [*map(packed, value)] if isinstance(value, list) else value


def unpacked(value: Any) -> Any:
    """The inverse of `packed`."""
    if isinstance(value, dict):
        found = {key: unpacked(one) for key, one in value.items()}
        return Phrase(found["template"], **found["values"]) if found.keys() == {"template", "values"} else found
    return [unpacked(one) for one in value] if isinstance(value, list) else value


def too_long(count: int, most: int) -> Phrase:
    """What is said of a text with more characters than are taken."""
    return Phrase("{count} characters are too many: at most {most}.", count=f"{count:,}", most=f"{most:,}")


def in_line(number: int, fault: str) -> Phrase:
    """A fault of one line of a text."""
    return Phrase("Line {line}: {fault}", line=number, fault=fault)


_FOLDERS = re.compile(r"(?<![\w/:.\\~])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\'\"]+[/\\])*(?=[^\s/\\])")


UNEXPECTED = Phrase("Something unexpected happened. The server's log says what.")  # of any error that is no GacError


def place_of(error: BaseException, file: str) -> str:
    """FILE:LINE of the deepest code in `file` that an error came through, else of the deepest of all."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == file] or frames
    return f"{own[-1].filename}:{own[-1].lineno}" if own else file


def in_one_line(error: BaseException) -> str:
    """Its type and what it says."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def is_interrupt(error: BaseException) -> bool:
    """Whether it is the user's Ctrl-C: that arrives in the main thread, and not at a `raise`."""
    if not isinstance(error, KeyboardInterrupt) or threading.current_thread() is not threading.main_thread():
        return False
    deepest = error.__traceback__
    while deepest and deepest.tb_next:
        deepest = deepest.tb_next
    return not deepest or deepest.tb_frame.f_code.co_code[deepest.tb_lasti] != dis.opmap["RAISE_VARARGS"]


def without_folders(message: str) -> str:
    """A message for the page and its routes, with only the last part of every absolute path.

    >>> without_folders("/home/me/.cache/gac/model.gguf is not whole; see https://example.org/help")
    'model.gguf is not whole; see https://example.org/help'
    """
    return changed(message, lambda text: _FOLDERS.sub("", text))


class SessionStopped(Exception):  # noqa: N818 (not an error: it was asked for)
    """The session was stopped while it waited for a member."""


class GacError(Exception):
    """Base of all errors raised on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Exception.__new__, (type(self), *self.args), self.__dict__  # `__init__` may take other arguments

    @property
    def user_message(self) -> str:
        """What the page says: a phrase, if there is one."""
        return self.args[0] if isinstance(next(iter(self.args), None), Phrase) else str(self)


class ConfigError(GacError):
    """The configuration is wrong; the message names the key's path."""


class RequestError(GacError):
    """A prompt or a setting of one run is wrong.

    Args:
        field: the setting's name, or "prompt".
        message: what is wrong and what is expected; a phrase is a sentence that needs no field before it.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message

    @property
    def user_message(self) -> str:
        if isinstance(self.message, Phrase):
            return self.message
        return f"{self.field.replace('_', ' ').capitalize()}: {self.message}"


class TooLongError(RequestError):
    """A prompt is longer than a member's context."""


class LoadingError(GacError):
    """The members are not loaded yet: what was asked for can be asked again once they are."""


class NotFoundError(GacError):
    """No such row, or it belongs to another visitor."""


class ElsewhereError(NotFoundError):
    """Another server answers the run or battle, so only that one can do what was asked."""


class ModelLoadError(GacError):
    """A model's files cannot be fetched, trusted or loaded."""


class VocabularyError(GacError):
    """A vocabulary cannot be turned into bytes, or bytes cannot be fed."""


class MemberError(GacError):
    """A member failed while running.

    Args:
        member: the member's name.
        kind: "exception", "non-finite", "timeout", "out-of-memory" or "context".
        message: what happened, without the member's name.
    """

    def __init__(self, member: str, kind: str, message: str) -> None:
        super().__init__(f"{member}: {message}")
        self.member = member
        self.kind = kind
        self.message = message


class RuleError(GacError):
    """A combine, gate or weight rule failed while running, or gave an invalid result.

    Args:
        rule: its name.
        message: what happened, without the rule's name.
        place: FILE:LINE in the rule's code; "" = unknown. For the log, not for visitors.
    """

    def __init__(self, rule: str, message: str, place: str = "") -> None:
        super().__init__(f"rule {rule}: {message}")
        self.rule = rule
        self.message = message
        self.place = place


class ConstraintError(GacError):
    """A JSON schema and a bias leave no next token, or a forced token does not fit them. The message names which."""


class BusyError(GacError):
    """The queue is full."""


class LimitError(BusyError):
    """The caller has as much under way as one caller may have."""


class StorageError(GacError):
    """The database failed."""


class DamagedError(StorageError):
    """A stored run can no longer be read."""
