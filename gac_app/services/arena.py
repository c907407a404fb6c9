"""The arena: a prompt, two anonymous answers, a vote, then the names. Its tab is served from here.

`ArenaService(runs, store)` works through a `RunService`: battles wait in its queue, share its members, and are gone
when a visitor deletes everything. Every method takes the visitor's key first and refuses with a sentence (a
RequestError, NotFoundError, BusyError or StorageError), whatever the page allows.

Before the vote
    `start(key, prompt, client=, consents=, again=) -> BattleView`: draws two contestants and begins; `again` names one
        of the visitor's battles whose prompt two others shall answer.
    `next_turn(key, battle_id, prompt) -> BattleView`: the conversation goes on, each side with its own history.
    `look(key, battle_id) -> BattleView`: to be polled (10 to 20 times a second while `phase` is "answering"): both
        sides at one pace. `following(key, battle_id)` is a context manager around the polling; `note_seen` says that
        the page shows it: a battle that nobody follows ends, as a run does.
    `stop(key, battle_id)`: ends both answers; what is there may be voted on. `skip(key, battle_id)`: no vote, ever.
The vote
    `vote(key, battle_id, outcome, ballot) -> BattleView`: "left", "right", "tie" or "both-bad", at any time from the
        first words on; ends both answers. `ballot` is the view's. It is in the database when this returns.
    `undo(key, battle_id, ballot) -> BattleView`: within `UNDO_S` seconds (`view.undo_left_s`), unless revealed.
After it
    `reveal(key, battle_id) -> BattleView`: tells the names now; without it they come `UNDO_S` after the vote.
    `view.contestants["left"|"right"]`: who it was (`ContestantView`). `steps(key, battle_id, turn, side, position)`:
        for the inspector, as `RunService.steps`; `answer(key, battle_id, turn, side)`: its tokens.
    `remark(key, battle_id, reasons, comment, ballot) -> BattleView`: reasons per side ({"left": [...], "right": [...]},
        of `arena.outcomes.Reason`) and a comment; may be given anew, the last counts.
    `delete(key, battle_id)`: forgets it with all its text and its vote. `own(key)`, `newest(key, limit)`: the
        visitor's, as they are stored, without those that can still be judged.
The leaderboard
    `standings.leaderboard(key, wanted=VoteFilter(), own=, controls_style=) -> Leaderboard` (`arena.leaderboard`), and
    `standings.choices() -> Choices`: the languages and configurations that a filter may ask for.
Values
    `BattleView`, `TurnView`, `SideView`, `ContestantView`: see `services.battle_views`. There are no events: a view is
    the whole state, and `view.phase` says where a battle stands:
    waiting -> answering -> answered -> voted -> revealed; or void, skipped, interrupted.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

from gac_app.arena.contestants import Contestant, contestants_of
from gac_app.arena.drawing import draw_pair, pair_probs
from gac_app.arena.language import language_of
from gac_app.arena.moderation import Moderator
from gac_app.arena.outcomes import SIDES, Side
from gac_app.decoding.trace import StepTrace
from gac_app.errors import BusyError, GacError, NotFoundError, RequestError
from gac_app.services.battle_recorder import BattleRecorder
from gac_app.services.battle_views import BattleView, live_view, stored_view
from gac_app.services.battles import UNDO_S, Battle, BattleRun
from gac_app.services.implied import implied_battles
from gac_app.services.judging import Judge, refuse_judged
from gac_app.services.live_battles import LiveBattles
from gac_app.services.live_runs import owner_of
from gac_app.services.runs import RunService, checked_prompt
from gac_app.services.settling import settle
from gac_app.services.standings import Standings
from gac_app.services.views import LiveStream, RunView
from gac_app.settings import Settings
from gac_app.storage import JudgedBattle, Store, StoredBattle

MAX_TURNS = 20
_SEEDS = 2**31
_UNDO_WRITTEN_S = 60.0  # for which another server may wait for the database with an undo


class ArenaService:
    """Starts, shows and judges battles.

    Args:
        runs: whose members and queue battles use.
        store: where they are kept.
        rng: draws pairs, sides and seeds.
    """

    def __init__(self, runs: RunService, store: Store, rng: random.Random | None = None) -> None:
        self.contestants = contestants_of(runs.config)
        self._runs = runs
        self._store = store
        self._rng = rng or random.SystemRandom()
        self._battles = LiveBattles()
        arena = runs.config.arena
        listed = [one.name for one in self.contestants]
        self.standings = Standings(store, listed, arena.min_votes, self._untold)
        self._moderator = Moderator(arena.max_per_hour, arena.min_seconds)
        self._judge = Judge(runs, store, self._battles, self._moderator)
        self._recorder = BattleRecorder(store, runs.config_hash, runs.versions)
        runs.companions.append(self)
        runs.history.implied = self._implied

    # --- before the vote

    def start(
        self, visitor_key: str, prompt: str, *, client: str = "", consents: bool = False, again: str = ""
    ) -> BattleView:
        """Let two contestants answer a prompt.

        Args:
            client: as of `RunService.start`.
            consents: the visitor agrees that prompt, answers and votes are kept; a public host asks for it.
            again: a battle of the visitor's whose first prompt two others shall answer; `prompt` is not looked at.
        """
        owner = owner_of(visitor_key)
        self._runs.ready_ensemble()
        before = self._battles.find(owner, again) if again else None
        prompt = checked_prompt(before.turns[0].prompt if before else prompt)
        if self._runs.config.is_public and not consents:
            raise RequestError("consent", "this host keeps prompts, answers and votes; please agree to that first")
        with self._runs.changing(visitor_key):
            battle = Battle(
                owner=owner,
                pair=self._draw(before),
                seed=self._rng.randrange(_SEEDS),
                language=language_of(prompt),
                has_consent=consents,
                client=client,
            )
            turn = battle.begin_turn(prompt)
            if not self._moderator.may_start(owner):
                raise BusyError("You have started many battles in this hour. Please come back a little later.")

            def take() -> None:
                for gone in self._battles.add(battle):
                    self._recorder.let_go(gone)
                self._recorder.started(battle, visitor_key)
                self._moderator.started(owner)

            self._begin(battle, turn, take)
        return self.look(visitor_key, battle.id)

    def next_turn(self, visitor_key: str, battle_id: str, prompt: str) -> BattleView:
        """Go on with the conversation; both sides keep their places."""
        prompt = checked_prompt(prompt)
        with self._runs.changing(visitor_key), self._battles.changing(owner_of(visitor_key), battle_id) as battle:
            refuse_judged(battle)
            if not battle.last.over.is_set():
                raise RequestError("prompt", "the answers are still coming; wait for their end, or stop them")
            if len(battle.turns) >= MAX_TURNS:
                raise RequestError("prompt", f"a battle has at most {MAX_TURNS} turns; please vote, or skip it")
            self._begin(battle, battle.begin_turn(prompt), lambda: None)
        return self.look(visitor_key, battle_id)

    def look(self, visitor_key: str, battle_id: str) -> BattleView:
        """A visitor's battle as it stands. Raises NotFoundError for another's as for none."""
        try:
            battle = self._of(visitor_key, battle_id)
        except NotFoundError:
            stored = self._store.battles.load(visitor_key, battle_id)
            return stored_view(stored, is_elsewhere=battle_id in self._elsewhere())
        with battle.lock:
            return live_view(battle)

    def following(self, visitor_key: str, battle_id: str) -> AbstractContextManager[None]:
        """A page is sent what comes of a battle until the block ends."""
        return self._runs.following(self._of(visitor_key, battle_id).last)

    def note_seen(self, visitor_key: str, battle_id: str) -> None:
        """A page says that it shows a battle, which then goes on for a while without one."""
        self._runs.audience.note_seen(self._of(visitor_key, battle_id).last)

    def stop(self, visitor_key: str, battle_id: str) -> None:
        """End both answers within one step."""
        self._runs.halt(self._of(visitor_key, battle_id).last)

    def wait(self, visitor_key: str, battle_id: str, timeout_s: float) -> bool:
        """Wait until both answers have ended; whether they have."""
        return self._of(visitor_key, battle_id).last.over.wait(timeout_s)

    def names_for_judges(self, visitor_key: str, battle_id: str) -> tuple[str, str]:
        """Who is left and who is right, told before the vote: for simulated judges, no surface calls it."""
        pair = self._of(visitor_key, battle_id).pair
        return pair["left"].name, pair["right"].name

    def skip(self, visitor_key: str, battle_id: str) -> BattleView:
        """End a battle without a vote."""
        with self._battles.changing(owner_of(visitor_key), battle_id) as battle:
            refuse_judged(battle)
            battle.is_skipped = True
        self._runs.halt(battle.last)  # while it can be looked at
        self._recorder.ended(battle)
        return self.look(visitor_key, battle_id)

    # --- the vote, and after it

    def vote(self, visitor_key: str, battle_id: str, outcome: str, ballot: int) -> BattleView:
        """Judge a battle, and end its answers where they still come. It is written when this returns."""
        self._judge.vote(visitor_key, battle_id, outcome, ballot)
        return self.look(visitor_key, battle_id)

    def undo(self, visitor_key: str, battle_id: str, ballot: int) -> BattleView:
        """Take a vote back while that is possible."""
        self._judge.undo(visitor_key, battle_id, ballot)
        return self.look(visitor_key, battle_id)

    def reveal(self, visitor_key: str, battle_id: str) -> BattleView:
        """Tell who the two were; from now on the vote stands."""
        with self._battles.changing(owner_of(visitor_key), battle_id) as battle:
            if battle.outcome is None:
                raise RequestError("reveal", "the names are told after the vote")
            battle.is_revealed = True
        return self.look(visitor_key, battle_id)

    def remark(
        self, visitor_key: str, battle_id: str, reasons: Mapping[str, Sequence[str]], comment: str, ballot: int
    ) -> BattleView:
        """Say why, after the vote; the last remark counts."""
        self._judge.remark(visitor_key, battle_id, reasons, comment, ballot)
        return self.look(visitor_key, battle_id)

    def answer(self, visitor_key: str, battle_id: str, turn: int, side: Side) -> tuple[LiveStream, Settings]:
        """One answer with its tokens, and its settings; once the names are told, and while it is in memory."""
        battle = self._of(visitor_key, battle_id)
        with battle.lock:
            if not battle.is_told:
                raise RequestError("steps", "are shown after the vote")
            if side not in SIDES or not 0 <= turn < len(battle.turns):
                raise RequestError("turn", "there is no such answer")
            run = battle.turns[turn]
            return run.streams[side], run.settings_of(side)

    def steps(
        self, visitor_key: str, battle_id: str, turn: int, side: Side, position: int
    ) -> tuple[Sequence[StepTrace], Settings]:
        """The steps of one answer, of which there is one at `position`, and its settings; once the names are told."""
        stream, settings = self.answer(visitor_key, battle_id, turn, side)
        if not 0 <= position < len(stream.steps):
            raise RequestError("position", "there is no such step")
        return stream.steps, settings

    def own(self, visitor_key: str) -> Iterator[StoredBattle]:
        """A visitor's battles, oldest first, without those that are `sealed`: a stored one names both."""
        owner_of(visitor_key)
        sealed = self.sealed()
        return (one for one in self._store.battles.export(visitor_key) if one.battle_id not in sealed)

    def newest(self, visitor_key: str, limit: int) -> tuple[list[StoredBattle], int]:
        """As `own`, the newest ones first, and how many there are."""
        owner_of(visitor_key)
        return self._store.battles.newest(visitor_key, limit, self.sealed())

    def sealed(self) -> frozenset[str]:
        """The ids of battles whose names may not be told: they can still be judged, here or on another server."""
        return self._battles.sealed() | self._elsewhere()

    def delete(self, visitor_key: str, battle_id: str) -> None:
        """Forget a battle with all its text: in memory, in what members keep of it, and in the database's files."""
        with self._runs.changing(visitor_key):
            self._take_out(owner_of(visitor_key), battle_id)
            self._runs.forget_read(visitor_key, battle_id)
            settle(self._store.battles.delete(visitor_key, battle_id))
            self._runs.history.on_deleted()

    def forget(self, visitor_key: str) -> None:
        """Keep nothing of a visitor's in memory."""
        owner = owner_of(visitor_key)
        self._take_out(owner)
        self._moderator.forget(owner)

    def close(self) -> None:
        """Stop what is under way."""
        for battle in self._battles.all():
            self._runs.halt(battle.last)

    # --- inside

    def _elsewhere(self) -> frozenset[str]:
        return self._store.battles.held_elsewhere(UNDO_S + _UNDO_WRITTEN_S)

    def _untold(self) -> frozenset[str]:
        return self._battles.untold() | self._elsewhere()

    def _implied(self, visitor_key: str, run: RunView, outcome: str) -> list[JudgedBattle]:
        """What a vote on Compare says of each pair."""
        return implied_battles(
            run,
            outcome,
            self.contestants,
            visitor_key=visitor_key,
            config_hash=self._runs.config_hash,
            versions=self._runs.versions,
        )

    def _draw(self, before: Battle | None) -> dict[Side, Contestant]:
        by_name = {one.name: one for one in self.contestants}
        if len(by_name) < 2:
            raise GacError("A battle needs two contestants; the configuration has one member and lists no others.")
        without = [one.name for one in before.pair.values()] if before else []
        probs = pair_probs(list(by_name), *self.standings.for_drawing())
        left, right = draw_pair(probs, without, self._rng)
        return {"left": by_name[left], "right": by_name[right]}

    def _begin(self, battle: Battle, turn: BattleRun, on_taken: Callable[[], None]) -> None:
        """Put a turn into the queue; the battle has it from then on."""

        def take() -> None:
            battle.turns.append(turn)
            on_taken()

        self._runs.carry_out(turn, on_taken=take, on_ended=lambda: self._recorder.ended(battle))

    def _take_out(self, owner: str, battle_id: str | None = None) -> None:
        for battle in self._battles.take_out(owner, battle_id):
            self._runs.halt(battle.last)

    def _of(self, visitor_key: str, battle_id: str) -> Battle:
        return self._battles.find(owner_of(visitor_key), battle_id)
