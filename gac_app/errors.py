"""Every error the project raises on purpose.

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
`without_folders`.
"""

from __future__ import annotations

import dis
import re
import threading
import traceback

_FOLDERS = re.compile(r"(?<![\w/:.\\~])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\'\"]+[/\\])*(?=[^\s/\\])")


UNEXPECTED = "something unexpected happened; the log of the server says what"  # of any error that is no GacError


def place_of(error: BaseException, file: str) -> str:
    """FILE:LINE of the deepest code in `file` that an error came through, else of the deepest of all."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == file] or frames
    return f"{own[-1].filename}:{own[-1].lineno}" if own else file


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
    return _FOLDERS.sub("", message)


class GacError(Exception):
    """Base of all errors raised on purpose."""


class ConfigError(GacError):
    """The configuration is wrong; the message names the key's path."""


class RequestError(GacError):
    """A prompt or a setting of one run is wrong.

    Args:
        field: the setting's name, or "prompt".
        message: what is wrong and what is expected.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


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
