"""A server whose ensemble gives tokens at a steady pace without computing, so that any lag is the page's.

`python -m tests.server.steady_ensemble PORT DATABASE_FILE NUM_TOKENS` serves the real page and services over it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from gac_app.config import Config
from gac_app.decoding.trace import Candidate, MemberTrace, StepTrace
from tests.fakes import config_of
from tests.ui.planted import PlantedEnsemble, PlantedSession

NUM_MEMBERS = 4  # with the ensemble, five streams
TOKENS_PER_S = 60
END_MARK = " end:"  # the last token: this mark and its time in milliseconds
MEMBERS = tuple(f"Steady {number}" for number in range(1, NUM_MEMBERS + 1))
# A step of realistic size: every member with its eight likeliest tokens.
_TOP = tuple(Candidate(rank, b" word", 0.5 / (1 + rank)) for rank in range(8))
_TRACES = tuple(MemberTrace(name, 1 / NUM_MEMBERS, 0.5, 1, _TOP, 1, 0.01) for name in MEMBERS)
_STEP = StepTrace(0, 0, b"", 0.5, _TOP, 0.4, is_ensembled=True, winner=MEMBERS[0], members=_TRACES)


class SteadyEnsemble(PlantedEnsemble):
    """Every stream gives `num_tokens` words at `TOKENS_PER_S`."""

    def __init__(self, num_tokens: int, config: Config) -> None:
        super().__init__(pause_s=1 / TOKENS_PER_S)
        self.num_tokens, self.config = num_tokens, config

    def request(self, *prompt: Any, **options: Any) -> Any:
        """Accepts any prompt, of which it reads nothing."""
        return SimpleNamespace(ids=[()], text="")

    def open(self, request: Any, *share: Any, **options: Any) -> SteadySession:
        return SteadySession(self, words(self.num_tokens), self.config.settings, None, -1)  # type: ignore[arg-type]


class SteadySession(PlantedSession):
    def _step(self, position: int, piece: str) -> StepTrace:
        return replace(_STEP, position=position, token=piece.encode())


def words(num: int) -> Iterator[str]:
    for position in range(num - 1):
        yield f" word{position}"
    yield f"{END_MARK}{1000 * time.time():.0f}"


def _serve(port: str, database: str, num_tokens: str) -> None:
    from gac_app.server.host import create_host
    from gac_app.server.serving import serve_host
    from gac_app.services.runs.runs import RunService
    from gac_app.storage import Store

    config = config_of(MEMBERS, server={"port": int(port)})
    service = RunService(config, Store(f"sqlite:///{database}"))
    for name in MEMBERS:
        service.members.set(name, "ready")
    service.members.use(SteadyEnsemble(int(num_tokens), config))  # type: ignore[arg-type]
    serve_host(create_host(service, config), config.server)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
