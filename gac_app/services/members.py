"""The members while they load, for the page's chips and `/readyz`, and their ensemble once it is ready."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from gac_app.config import Config
from gac_app.errors import GacError, LoadingError, Phrase, joined
from gac_app.member_config import MemberConfig

if TYPE_CHECKING:  # they load torch, which the page need not wait for
    from gac_app.decoding.ensemble import Ensemble
    from gac_app.decoding.together import DecodesTogether
    from gac_app.models.base import Model
    from gac_app.models.sources import Progress

AGAIN_S = 5.0  # between two questions to a server that is not there
Phase = Literal["waiting", "fetching", "loading", "ready", "failed"]


@dataclass(frozen=True, slots=True)
class MemberFact:
    """A line of a member's card. `is_brief`: shown on the closed card too."""

    label: str
    text: str
    is_brief: bool = False


@dataclass(frozen=True, slots=True)
class MemberState:
    """One member's state on its way to ready.

    Attributes:
        progress: 0 to 1 while fetching, if the size is known.
        bytes_per_s: while fetching, if known.
        left_s: while fetching, if known.
        detail: for people: why it failed, what it waits for, or its engine and device.
        facts: once the member is ready.
        notice: the model's licence notice.
    """

    name: str
    phase: Phase = "waiting"
    progress: float | None = None
    bytes_per_s: float | None = None
    left_s: float | None = None
    detail: str = ""
    facts: tuple[MemberFact, ...] = ()
    notice: str = ""

    @property
    def words(self) -> str:
        """The phase, and the progress of a download: `fetching 42 % · 12 MB/s · 25 s left`."""
        words: list[str] = [
            self.phase
            if self.progress is None
            else Phrase("{phase} {share}", phase=Phrase(self.phase), share=f"{int(self.progress * 100)} %")
        ]
        if self.bytes_per_s is not None:
            words.append(f"{_scaled(self.bytes_per_s, _BYTES)}/s")
        if self.left_s is not None:
            words.append(Phrase("{time} left", time=_duration(self.left_s)))
        return joined(" · ", words)


class Members:
    """The members while they load, and the ensemble of them once all are ready. Loaders write it; all others read it.

    Args:
        tell: is told each state, the first ones too, in the thread that loads the member.

    Attributes:
        decodes_together: decodes all streams of a run, where they cannot have threads.
        kept: gives, by name, what each member's prefix cache keeps of ended runs, JSON-able.
    """

    def __init__(self, config: Config, tell: Callable[[MemberState], None] = lambda _: None) -> None:
        self.decodes_together: DecodesTogether | None = None
        self.kept: Callable[[], dict[str, Any]] = dict
        self._tell = tell
        self._ensemble: Ensemble | None = None
        self._states = {m.name: MemberState(m.name, notice=m.notice) for m in config.members}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        for state in self._states.values():
            tell(state)

    def use(
        self,
        ensemble: Ensemble,
        kept: Callable[[], dict[str, Any]] = dict,
        decodes_together: DecodesTogether | None = None,
    ) -> None:
        """Say that all are ready. For the arguments see the attributes."""
        self.kept, self.decodes_together, self._ensemble = kept, decodes_together, ensemble

    @property
    def are_ready(self) -> bool:
        return self._ensemble is not None

    def ensemble(self) -> Ensemble:
        """The ensemble. Raises LoadingError while it is not ready, GacError where it never will be."""
        if self._ensemble is not None:
            return self._ensemble
        for state in self.states():
            if state.phase == "failed":
                raise GacError(f"{state.name} could not be loaded: {state.detail}")
        raise LoadingError(Phrase("The models are still loading. Try again in a moment."))

    def states(self) -> list[MemberState]:
        """The state of each member. One that is loaded has failed while none of its reads succeed."""
        failures: dict[str, str] = {}
        if self._ensemble:
            timeout_s = self._ensemble.config.settings.step_timeout_s
            failures = {name: member.why_unready(timeout_s) for name, member in self._ensemble.members.items()}
        with self._lock:
            states = list(self._states.values())
        return [
            replace(state, phase="failed", detail=failures[state.name]) if failures.get(state.name) else state
            for state in states
        ]

    def of(self, name: str) -> MemberState:
        """The state of one member while it loads."""
        with self._lock:
            return self._states[name]

    def set(self, name: str, phase: Phase, *, detail: str = "", facts: tuple[MemberFact, ...] = ()) -> None:
        """Set a member's phase, and clear the details of the last one."""
        self._put(MemberState(name, phase, detail=detail, facts=facts))

    def set_fetching(self, name: str, progress: Progress) -> None:
        """Set the progress of fetching a member."""
        self._put(MemberState(name, "fetching", progress.share, progress.bytes_per_s, progress.left_s))

    def set_ready(self, member: MemberConfig, model: Model) -> None:
        """Say that a member is loaded."""
        self.set(member.name, "ready", detail=str(model.device), facts=facts_of(member, model))

    def wait(self, name: str, why: str) -> bool:
        """See `Watcher`: its card says what is awaited."""
        self.set(name, "waiting", detail=why)
        return not self._closed.wait(AGAIN_S)

    def set_failed(self, detail: str) -> None:
        """Mark a failure. If no single member caused it, mark all, so that none seems to be fine."""
        phases = {state.name: state.phase for state in self.states()}
        for name, phase in phases.items():
            if phase != "failed" and not (phase == "ready" and "failed" in phases.values()):
                self.set(name, "failed", detail=detail)

    def forget(self, owner: str, conversation_id: str = "") -> None:
        """Drop a conversation, or all of an owner's, from the prefix caches."""
        if self._ensemble is not None:
            self._ensemble.forget(namespace_of(owner, conversation_id))

    def close(self) -> None:
        """Release the models."""
        self._closed.set()
        if self._ensemble is not None:
            self._ensemble.close()

    def _put(self, state: MemberState) -> None:
        with self._lock:
            state = replace(state, notice=self._states[state.name].notice)
            self._states[state.name] = state
        self._tell(state)


def namespace_of(owner: str, conversation_id: str) -> str:
    """The namespace in the prefix cache. Turns, streams and branches of one conversation share it; visitors never
    do.
    """
    return f"{owner}/{conversation_id}" if conversation_id else owner


def facts_of(member: MemberConfig, model: Model) -> tuple[MemberFact, ...]:
    """The facts on a loaded member's card."""
    about = model.about
    size = Phrase("{count} parameters", count=_scaled(member.num_params, _COUNT)) if member.num_params else about.size
    facts = (
        MemberFact("Kind", Phrase("view of {name}", name=member.of) if member.of else "", is_brief=True),
        MemberFact("Size", size, is_brief=True),
        MemberFact("Family", about.family, is_brief=True),
        MemberFact("Quantisation", about.quantization, is_brief=True),
        MemberFact("Chats", "no chat template" if model.chat_stop_strings else "", is_brief=True),
        MemberFact("Vocabulary", Phrase("{count} tokens", count=f"{len(model.vocabulary.token_bytes):,}")),
        MemberFact("Context", Phrase("{count} tokens", count=f"{model.context_length:,}")),
        MemberFact("Licence", about.licence or member.notice or "its files do not say; see the model's page"),
        MemberFact("Back end", model.engine),
    )
    return tuple(fact for fact in facts if fact.text)


_BYTES = {"GB": 1e9, "MB": 1e6, "kB": 1e3, "B": 1.0}
_COUNT = {"T": 1e12, "B": 1e9, "M": 1e6, "": 1.0}


def _scaled(value: float, units: Mapping[str, float]) -> str:
    """Two or three digits, in the largest unit that fits: `494 M`, `1.5 B`, `12 MB`."""
    unit = next((unit for unit, factor in units.items() if value >= factor), list(units)[-1])
    decimals = 1 if units[unit] > 1 and value < 10 * units[unit] else 0
    return f"{value / units[unit]:,.{decimals}f} {unit}".rstrip()


def _duration(seconds: float) -> str:
    """`25 s`, `3 min`, `1 h 20 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
