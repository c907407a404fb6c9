"""All that is changed inside Gradio, which has no option for it: three patches, checked with `CHECKED_VERSION`.

With another version a test fails. Then read in Gradio what each patch says of it, and raise the number.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

logger = logging.getLogger(__name__)

CHECKED_VERSION = "6.31.0"


@contextmanager
def without_stubs() -> Iterator[None]:
    """Gradio's components defined within write no type stubs.

    `component_meta.create_or_modify_pyi` parses the source of each and writes a `.pyi` into Gradio's package, which
    takes two fifths of the import's time and helps only editors. It gives up where a class has no file.
    """

    def no_file(object: object) -> str:
        raise OSError

    getfile, inspect.getfile = inspect.getfile, no_file
    try:
        yield
    finally:
        inspect.getfile = getfile


with without_stubs():
    from gradio import queueing, routes, state_holder


class _KeepsNothing(dict[int, Any]):
    def __setitem__(self, key: int, value: Any) -> None:
        """Stores nothing."""


_State = state_holder.SessionState
_init = _State.__init__


def _init_lean(self: Any, blocks: Any) -> None:
    _init(self, SimpleNamespace(default_config=blocks.default_config, blocks=()))
    self.config_values = _KeepsNothing()


# A session keeps nothing. Gradio keeps a copy of every component's configuration and last value, visitors' texts among
# them, for links to a page's state.
_State.__init__ = _init_lean
_State._update_config = _State._update_value_in_config = lambda *_: None


def _log_exception() -> None:
    logger.exception("an event of the page broke")


# Both print exceptions of events, whose messages may hold a visitor's text, past the log and its filter.
for _module in (queueing, routes):
    _module.traceback = SimpleNamespace(print_exc=_log_exception)
