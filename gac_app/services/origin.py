"""Where the work of a thread comes from: a program's request, a run. For logs; no visitor, no text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Origin:
    """An origin; empty where there is none.

    Attributes:
        request_id, run_id: of the API's request, of the run.
    """

    request_id: str = ""
    run_id: str = ""


ORIGIN: ContextVar[Origin] = ContextVar("origin", default=Origin())  # noqa: B039 (it is frozen)


@contextmanager
def originating(**parts: str) -> Iterator[None]:
    """What the block does has these parts of an origin too."""
    token = ORIGIN.set(replace(ORIGIN.get(), **parts))
    try:
        yield
    finally:
        ORIGIN.reset(token)
