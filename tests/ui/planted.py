"""An ensemble that answers what a test plants: the real service over it needs no model."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from gac_app.config import Config
from gac_app.decoding.loop.session import Branch
from gac_app.decoding.trace import Candidate, Event, FinishedEvent, FinishReason, MemberTrace, StepDigest
from gac_app.decoding.trace.events import MemberUsage, StepTrace, TokenEvent
from gac_app.errors import MemberError
from gac_app.services.battles.arena import ArenaService
from gac_app.services.mirror.mirror import Mirror
from gac_app.services.runs.runs import RunService
from gac_app.settings import Settings
from gac_app.storage import Store
from tests.databases import database_in

KEY = "a" * 64
OTHER_KEY = "b" * 64
MEMBERS = ("Small", "Large")
ANSWER = ("Paris", " is", " the", "\n", " capital", ".", "")
GATED = (1, 3, 4)  # positions at which the planted gate asks
CHANGED = 4  # of these the one at which it alone would have written " instead"
DRAFTED: dict[int, tuple[str, ...]] = {2: ("Large",), 5: ()}  # the first of them is accepted


def planted_config(names: Sequence[str] = MEMBERS, **fields: Any) -> Config:
    members = [{"name": name, "source": "random:1", "notice": f"{name} terms"} for name in names]
    return Config.model_validate({"members": members, "examples": ["First example"], **fields})


def planted_service(
    folder: Path, ensemble: PlantedEnsemble | None = None, members: Sequence[str] = MEMBERS, **server: Any
) -> RunService:
    """A real service with its own database, ready to answer."""
    service = RunService(planted_config(members, server=server), Store(database_in(folder / "runs.sqlite3")))
    return _ready(service, ensemble)


def _ready(service: RunService, ensemble: PlantedEnsemble | None) -> RunService:
    for name in service.config.member_names:
        service.members.set(name, "ready")
    service.members.use(ensemble or PlantedEnsemble())  # type: ignore[arg-type]
    return service


class Planted(NamedTuple):
    """An arena, what it works through, and where it keeps battles."""

    runs: RunService
    store: Store
    arena: ArenaService


def planted_arena(
    folder: Path,
    ensemble: PlantedEnsemble | None = None,
    *,
    public: bool = False,
    is_mirrored: bool = False,
    mirror: Callable[[Store], Mirror] | None = None,
) -> Planted:
    """Four contestants with names that nothing else says, over a real service with its own database.

    With `is_mirrored` the page asks for consent; nothing is copied, unless by `mirror`.
    """
    contestants: list[Any] = [{"name": "zyxone", "member": "Small"}, {"name": "zyxtwo", "member": "Large"}]
    contestants += [{"name": "zyxthree", "settings": {"mode": "every-step"}}]
    contestants += [{"name": "zyxfour", "settings": {"mode": "gate"}}]
    fields = {"mirror": {"folder": folder / "mirror"}} if is_mirrored else {}
    arena = {"contestants": contestants, "min_votes": 2, "min_seconds": 0.0}
    config = planted_config(arena=arena, public=public, **fields)
    store = Store(database_in(folder / "runs.sqlite3"))
    copying = mirror(store) if mirror else None
    service = _ready(RunService(config, store, mirror=copying), ensemble)
    return Planted(service, store, ArenaService(service, store, random.Random(1)))


class PlantedEnsemble:
    """Every stream says `pieces`, one each `pause_s`; a member named in `failing` breaks after two tokens.

    Args:
        pieces: texts of the tokens; an empty one is END.
        alone: other texts for the members alone.
    """

    def __init__(
        self, pieces: Sequence[str] = ANSWER, alone: Sequence[str] | None = None, pause_s: float = 0, failing: str = ""
    ) -> None:
        self.pieces, self.alone, self.pause_s, self.failing = pieces, alone or pieces, pause_s, failing
        self.is_reproducible, self.num_steps = True, 0
        self.members: dict[str, Any] = {}
        self.config = planted_config()
        self.shares_read: dict[str, float] = {}

    def session(self, settings: Settings, alone: str | None, branch: Branch | None) -> PlantedSession:
        pieces = list(self.pieces if alone is None else self.alone)
        if branch is not None:
            replayed = [step.token.decode() for step in branch.steps]
            given = [*replayed, *([] if branch.token is None else [branch.token.decode()])]
            pieces = [*given, *pieces[len(given) :]]
        return PlantedSession(self, pieces, settings, alone, len(given) - 1 if branch else -1)

    def request(
        self, messages: Any, settings: Settings, *, alone: str | None = None, known: Any = None
    ) -> tuple[Any, Settings, str | None]:
        """Takes any prompt."""
        return messages, settings, alone

    def open(self, request: tuple[Any, Settings, str | None], *_: Any, branch: Any, **options: Any) -> PlantedSession:
        _, settings, alone = request
        return self.session(settings, alone, branch)

    def check_room(self, messages: Any, num_new: int, known: Any) -> None:
        """Takes any prompt."""

    def check_branch(self, branch: Branch) -> None:
        """Takes any branch."""

    def forget(self, namespace: str) -> None:
        """Keeps nothing."""

    def close(self) -> None:
        """Holds nothing."""


class PlantedSession:
    def __init__(
        self, ensemble: PlantedEnsemble, pieces: list[str], settings: Settings, alone: str | None, branched_at: int
    ) -> None:
        self._ensemble, self._pieces, self._settings, self._alone = ensemble, pieces, settings, alone
        self._branched_at = branched_at
        self._stopped = threading.Event()
        self._digest = StepDigest()

    def stop(self) -> None:
        self._stopped.set()

    def shares_read(self) -> dict[str, float]:
        return self._ensemble.shares_read

    def events(self) -> Iterator[Event]:
        text, count = "", 0
        for position, piece in enumerate(self._pieces):
            if self._stopped.wait(self._ensemble.pause_s):
                yield self._end(FinishReason.ABORT, text, count)
                return
            if self._alone and self._alone == self._ensemble.failing and position == 2:
                error = MemberError(self._alone, "exception", "planted failure")
                yield self._end(FinishReason.ERROR, text, count, str(error))
                return
            self._ensemble.num_steps += 1
            text, count = text + piece, count + 1
            step = self._step(position, piece)
            self._digest.add(step)
            yield TokenEvent(piece, step)
        yield self._end(FinishReason.STOP, text, count)

    def _step(self, position: int, piece: str) -> StepTrace:
        return planted_step(position, piece, alone=self._alone, is_forced=position <= self._branched_at)

    def _end(self, reason: FinishReason, text: str, count: int, detail: str = "") -> FinishedEvent:
        proof = (self._digest.hex, self._ensemble.is_reproducible)
        asked = {self._alone: count} if self._alone else {MEMBERS[0]: count, MEMBERS[1]: len(GATED)}
        usage = {name: MemberUsage(passes, passes, passes / 4) for name, passes in asked.items()}
        num_replayed = self._branched_at + 1
        return FinishedEvent(reason, text, count, len(GATED), 0.01, 0.02, usage, detail, *proof, num_replayed)


def planted_step(position: int, piece: str, *, alone: str | None = None, is_forced: bool = False) -> StepTrace:
    """A step that chose `piece` with 60 %, before an alternative that says so."""
    is_gated = alone is None and position in GATED
    token_id, token = hash_id(piece), piece.encode()
    top = (Candidate(token_id, token, 0.6), Candidate(7, b" instead", 0.3))
    asked = [alone] if alone else list(MEMBERS if is_gated else MEMBERS[:1])
    members = tuple(
        MemberTrace(name, 1 / len(asked), 0.6 - 0.2 * index, 1 + index, top, 1, 0.002)
        for index, name in enumerate(asked)
    )
    step = StepTrace(position, token_id, token, 0.6, top, 0.4 if is_gated else 0.9, is_gated, asked[0], members)
    drafted: Any = {} if alone else {"is_drafted": position == min(DRAFTED), "drafted_by": DRAFTED.get(position)}
    wanted = (b" instead" if position == CHANGED else token) if is_gated else None
    spellings = {name: (token,) for name in asked if piece}
    return replace(step, spellings=spellings, is_forced=is_forced, gate_choice=wanted, **drafted)


def hash_id(piece: str) -> int:
    """A union id that is the same in every process."""
    return 100 + sum(piece.encode()) % 10_000
