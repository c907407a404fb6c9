"""A battle in memory: two contestants, the turns that both answered, and the vote."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from gac_app.arena.contestants import Contestant
from gac_app.arena.outcomes import SIDES, Outcome, Side
from gac_app.arena.pacing import Pace, SideProgress, Tempo
from gac_app.decoding.trace import FinishReason
from gac_app.services.runs.live_run import Decodes, LiveRun, RunPlan
from gac_app.services.runs.views import WAITING
from gac_app.settings import Settings
from gac_app.storage import ANSWERED, CONTINUING, RunStatus, Turn, clean_text, fed_messages

if TYPE_CHECKING:  # it loads torch
    from gac_app.decoding.ensemble import Ensemble
    from gac_app.decoding.request import Encoded, Request


class BattleRun(LiveRun):
    """A turn of a battle. Its streams are the sides, each with the settings of its contestant."""

    is_blind = True
    contestants: Sequence[Contestant] = ()  # of this server; set by the Arena

    def __init__(self, battle: Battle, prompt: str) -> None:
        self._pair: dict[str, Contestant] = {side: battle.pair[side] for side in SIDES}
        self.pace = Pace(battle.tempo, len(prompt))
        plan = RunPlan(
            prompt=prompt,
            settings=battle.pair["left"].settings,
            conversation_id=battle.id,
            turns=tuple(turn.as_turn() for turn in battle.begun_turns),
        )
        super().__init__(plan, owner=battle.owner, keys=SIDES, member_names=())

    def alone_in(self, stream: str) -> str | None:
        return self._pair[stream].member

    def settings_of(self, stream: str) -> Settings:
        return self._pair[stream].settings

    def request_of(self, stream: str, ensemble: Ensemble, known: Encoded) -> Request:
        # There has to be room for all contestants, whoever answers, so that a refusal tells nothing of them.
        num_new = max(one.settings.max_new_tokens for one in self.contestants)
        for system_prompt in {one.settings.system_prompt for one in (*self.contestants, *self._pair.values())}:
            ensemble.check_room(fed_messages(stream, self.prompt, system_prompt, self.turns), num_new, known)
        return super().request_of(stream, ensemble, known)

    def open(self, stream: str, ensemble: Ensemble) -> Decodes:
        self.num_shown()  # the pace begins with the answers, not with the first look: see `hidden_s`
        return super().open(stream, ensemble)

    def feed(self, system_prompt: str) -> None:
        """Give each side its own history and its contestant's system prompt."""
        for key, stream in self.streams.items():
            stream.messages = fed_messages(key, self.prompt, self.settings_of(key).system_prompt, self.turns)

    @property
    def has_ended(self) -> bool:
        return all(stream.finished for stream in self.streams.values())

    @property
    def has_failed(self) -> bool:
        """Whether a side failed, so that there is nothing to compare."""
        return any(one.finished and one.finished.reason is FinishReason.ERROR for one in self.streams.values())

    @property
    def is_stopped(self) -> bool:
        """Whether it was ended before its answers were. What was not shown by then never is."""
        ends = [one.finished for one in self.streams.values()]
        return self.is_stopping.is_set() or any(end and end.reason is FinishReason.ABORT for end in ends)

    def num_shown(self) -> dict[Side, int]:
        """Characters of each side that may be shown now. A stopped turn shows no more than before: the rest would tell
        which side is faster.
        """
        streams = [self.streams[side] for side in SIDES]
        progress = [SideProgress(len(stream.text), stream.finished is not None) for stream in streams]
        if self.status != WAITING and not self.is_stopped:
            self.pace.advance(progress)
        return {side: min(self.pace.num_shown, one.num_chars) for side, one in zip(SIDES, progress, strict=True)}

    def num_shown_at_end(self) -> dict[Side, int]:
        """What it shows of its sides as an earlier turn."""
        return self.num_shown() if self.is_stopped else {side: len(self.streams[side].text) for side in SIDES}

    def note_tempo(self, tempo: Tempo) -> None:
        """Tell the host's tempo how long the answers took."""
        for side in SIDES:
            if (end := self.streams[side].finished) is not None:
                decoded_s = end.seconds - end.ttft_s
                tempo.note(self._pair[side].name, len(end.text), decoded_s, end.ttft_s, len(self.prompt))

    def is_shown_whole(self, shown: Mapping[Side, int]) -> bool:
        """Whether it is over and `shown` are all characters of its answers."""
        is_whole = all(shown[side] >= len(self.streams[side].text) for side in SIDES)
        return is_whole and self.over.is_set() and self.pace.has_begun

    def is_answered(self, shown: Mapping[Side, int]) -> bool:
        """Whether no more will be shown than `shown`. A stopped turn does not wait for a step's end: whose it is would
        tell.
        """
        return self.is_stopped or self.is_shown_whole(shown)

    def hidden_s(self) -> float:
        if self.is_stopped or self.has_failed:
            return 0.0
        return self.pace.seconds_to(max(len(stream.text) for stream in self.streams.values()))

    def shown_at(self) -> tuple[float, float]:
        """When the first characters are shown, or were, and when all that ever will be, in seconds since 1970. How long
        that takes depends on the length of the answers, not on who gave them.
        """
        begins_s = self.pace.seconds_to(0) - self.pace.seconds
        return time.time() + begins_s, time.time() + self.hidden_s()

    def as_turn(self) -> Turn:
        """As `RunView`, with what was shown: a later answer must not tell of the rest."""
        whole, shown = super().as_turn(), self.num_shown_at_end()
        return replace(whole, answers={side: clean_text(self.streams[side].text[: shown[side]]) for side in SIDES})


@dataclass(slots=True, eq=False, kw_only=True)
class Battle:
    """Two contestants and their answers. The owner's key never leaves the service.

    Attributes:
        pair: the contestants by side, as they answer here; secret until `names_revealed`.
        tempo: at which the host shows battles.
        turns: one run each; the last may still be decoding.
        shown: characters of the last turn's sides that were shown when the vote came; None before. Once set, nothing
            else is accepted.
        remark: the last, as stored: its reasons and comment; None = there is none.
        unwritten: a judgement that the database has not stored yet, and what to do once it has.
    """

    owner: str
    pair: dict[Side, Contestant]
    language: str
    has_consent: bool
    client: str
    tempo: Tempo
    id: str = ""
    turns: list[BattleRun] = field(default_factory=list)
    outcome: Outcome | None = None
    is_counted: bool = False  # in the metrics
    is_skipped: bool = False
    shown: dict[Side, int] | None = None
    remark: Mapping[str, Any] | None = None
    unwritten: tuple[Future[None], Callable[[], None]] | None = None
    judging: threading.Lock = field(default_factory=threading.Lock)  # held from a click until it is stored
    lock: threading.RLock = field(default_factory=threading.RLock)  # never held while waiting
    clock: Callable[[], float] = time.monotonic

    @property
    def last(self) -> BattleRun:
        return self.turns[-1]

    @property
    def version(self) -> int:
        """What a vote must name, so that none counts twice or for a turn that its visitor did not see."""
        return len(self.turns) - (self.outcome is None)

    @property
    def begun_turns(self) -> list[BattleRun]:
        """Those that a next one follows: not those that were stopped before anything was shown."""
        return [turn for turn in self.turns if not turn.is_stopped or any(turn.num_shown().values())]

    @property
    def is_void(self) -> bool:
        return any(turn.has_failed for turn in self.turns)

    @property
    def status(self) -> str:
        """As stored, once the answers of a turn have ended."""
        if self.is_skipped or self.is_void:
            return "skipped" if self.is_skipped else "void"
        return CONTINUING if self.last.status in (WAITING, RunStatus.RUNNING) else ANSWERED

    @property
    def names_revealed(self) -> bool:
        """Whether names may be told, because a vote is stored, which is final."""
        return self.outcome is not None

    @property
    def is_final(self) -> bool:
        """Whether it can no longer be judged."""
        return self.names_revealed or self.is_void or self.is_skipped

    def num_shown(self) -> dict[Side, int]:
        """Shown characters of the last turn's sides; after the vote, those that were judged."""
        return self.shown or self.last.num_shown()

    def begin_turn(self, prompt: str) -> BattleRun:
        """The next turn, not queued yet."""
        turn = BattleRun(self, prompt)
        self.id = self.id or turn.conversation_id
        turn.client = self.client
        return turn

    def note_row(self) -> bool:
        """Note whether the database has stored the last judgement. Returns False while that is not known."""
        if self.unwritten is None:
            return True
        write, then = self.unwritten
        if not write.done():
            return False
        self.unwritten = None
        if write.exception() is None:
            then()
        if self.outcome is None:
            self.shown = None
        return True
