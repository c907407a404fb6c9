"""The Arena: a prompt, two anonymous answers, a vote, then the names.

`ArenaService(runs, store)` works through a `RunService`: battles wait in its queue, share its members, and are deleted
when a visitor deletes everything. Every method takes the visitor's key first. It refuses with RequestError,
NotFoundError, BusyError or StorageError, whose message the page shows; the page itself is not trusted.

The life of a battle: `start` draws a pair and lets both answer, `judge.vote` takes the vote, which is final, and tells
the names, and `standings` rates. Methods return a `BattleView`, the whole state of a battle; there are no events. Its
`phase` goes waiting -> answering -> answered -> revealed, or ends as void, skipped or interrupted. The page
polls `battles.look` 10 to 20 times a second while a battle is answered.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from gac_app.arena.contestants import Contestant, contestants_of
from gac_app.arena.controls import Controls, controls_of
from gac_app.arena.drawing import draw_pair, pair_probs
from gac_app.arena.language import language_of
from gac_app.arena.moderation import Moderator
from gac_app.arena.outcomes import Origin, Side
from gac_app.arena.pacing import Tempo
from gac_app.errors import BusyError, GacError, Phrase, RequestError, StorageError
from gac_app.services.battles.battles import Battle, BattleRun
from gac_app.services.battles.judging import Judge, refuse_judged
from gac_app.services.battles.operator import Operator
from gac_app.services.battles.records import body_of
from gac_app.services.battles.standings import Standings
from gac_app.services.battles.views import BattleView
from gac_app.services.battles.visitor_battles import VisitorBattles
from gac_app.services.queue.shares import has_client_keys, period_now, use_client_keys, voter_of
from gac_app.services.runs.runs import CLOSE_TIMEOUT_S, RunService, checked_prompt
from gac_app.services.visitors import owner_of
from gac_app.services.writes import log_failure, wait_for
from gac_app.storage import CONTINUING, NewBattle, Store

MAX_TURNS = 20
_SEEDS = 2**53  # too many to try them all on the same model


class ArenaService:
    """Starts battles and carries out their turns.

    Args:
        runs: its members and its queue are used.
        store: keeps the battles.
        rng: draws pairs, sides and seeds.

    Attributes:
        battles: finds, shows, lists and deletes them.
        judge: takes votes, and tells the names.
        standings: the leaderboard.
        operator: what only the operator may see and do.
    """

    def __init__(self, runs: RunService, store: Store, rng: random.Random | None = None) -> None:
        self.contestants = contestants_of(runs.config)
        self._runs = runs
        self._store = store
        self._rng = rng or random.SystemRandom()
        arena, listed = runs.config.arena, [one.name for one in self.contestants]
        self._tempo = Tempo(listed)
        self._moderator = Moderator(arena.max_per_hour, arena.min_seconds)
        self.battles = VisitorBattles(runs, store)
        self.judge = Judge(runs, store, self.battles, self._moderator)
        self.standings = Standings(store, listed, arena.min_votes)
        self.operator = Operator(store, self.standings)
        with suppress(StorageError):  # tried again when a battle starts
            self._learn_client_keys()
        runs.companions.append(self)

    @property
    def is_reading(self) -> bool:
        """Whether votes are still read back from the mirror."""
        return self._runs.mirror is not None and not self._runs.mirror.is_restored

    def start(
        self, visitor_key: str, prompt: str, *, client: str = "", consents: bool = False, again: str = ""
    ) -> BattleView:
        """Draw two contestants and let them answer a prompt.

        Args:
            client: as in `RunService.start`.
            consents: the visitor agrees that prompt, answers and votes are kept; required on a public host.
            again: an earlier battle of the visitor's. A pair that is drawn anew answers its first prompt; `prompt` is
                ignored. Once it may, the earlier one is skipped unless it is judged.
        """
        owner = owner_of(visitor_key)
        self._runs.members.ensemble()
        if not has_client_keys():
            self._learn_client_keys()
        controls = self._open(client)
        before = self.battles.find(visitor_key, again) if again else None
        prompt = checked_prompt(before.turns[0].prompt if before else prompt)
        if self._runs.config.is_public and not consents:
            raise RequestError("consent", Phrase("This server keeps prompts, answers and votes. Agree to that first."))
        with self._runs.changing(visitor_key):
            pair = self._draw(before, controls)
            battle = Battle(
                owner=owner,
                pair=pair,
                language=language_of(prompt),
                has_consent=consents,
                client=client,
                tempo=self._tempo,
            )
            turn = battle.begin_turn(prompt)
            if not self._may_start(visitor_key):
                raise BusyError(Phrase("You have started many battles within an hour. Try again later."))

            def take() -> None:
                self.battles.add(battle)
                self._write_start(battle, visitor_key)
                self._moderator.started(owner)
                self.operator.started(client)

            self._begin(battle, turn, take)
        if before and not before.is_final:
            with suppress(GacError):  # judged or deleted meanwhile, or on another server
                self.skip(visitor_key, again)
        return self.battles.look(visitor_key, battle.id)

    def next_turn(self, visitor_key: str, battle_id: str, prompt: str) -> BattleView:
        """Continue the conversation. Both sides keep their places and their own history."""
        prompt = checked_prompt(prompt)
        with self._runs.changing(visitor_key), self.battles.changing(visitor_key, battle_id) as battle:
            refuse_judged(battle)
            if not battle.last.is_answered(battle.num_shown()):
                raise RequestError("prompt", Phrase("The answers are still coming. Wait for their end, or stop them."))
            if not all(map(self._is_known, battle.pair.values())):
                raise RequestError(
                    "prompt", Phrase("This server has other models than the one before. Vote or skip it.")
                )
            if len(battle.begun_turns) >= MAX_TURNS:
                raise RequestError(
                    "prompt", Phrase("A battle has at most {most} turns. Vote or skip it.", most=MAX_TURNS)
                )
            battle.tempo = self._tempo  # of this server, which may have taken it over
            # No other server may judge it meanwhile.
            self._begin(battle, battle.begin_turn(prompt), lambda: self._write(battle, CONTINUING))
        return self.battles.look(visitor_key, battle_id)

    def following(self, visitor_key: str, battle_id: str) -> AbstractContextManager[None]:
        """A page shows the battle until the block ends. Soon after the last page has left, the battle ends."""
        return self._runs.following(self.battles.find(visitor_key, battle_id).last)

    def note_seen(self, visitor_key: str, battle_id: str) -> None:
        """A page shows the battle, which continues for a while without one."""
        self.battles.find(visitor_key, battle_id).last.is_seen = True

    def stop(self, visitor_key: str, battle_id: str) -> None:
        """End both answers within one step, which is not waited for. What is shown may be voted on; no more of them is
        shown from then on.
        """
        battle = self.battles.find(visitor_key, battle_id)
        with battle.lock:
            battle.last.is_stopping.set()
            has_ended = battle.last.has_ended  # but was not shown whole
        self._runs.halt(battle.last, timeout_s=0)
        if has_ended:
            self._write_end(battle)

    def skip(self, visitor_key: str, battle_id: str) -> BattleView:
        """End a battle for good, without a vote."""
        with self.battles.changing(visitor_key, battle_id) as battle:
            refuse_judged(battle)
            battle.is_skipped = True
            battle.last.is_stopping.set()
        self._runs.halt(battle.last)  # outside the lock, so that the battle can be looked at meanwhile
        self._write_end(battle)
        return self.battles.look(visitor_key, battle_id)

    def forget(self, visitor_key: str) -> None:
        """Keep nothing of a visitor's in memory."""
        owner = owner_of(visitor_key)
        self.battles.drop(owner)
        self._moderator.forget(owner)

    def close(self) -> None:
        """Stop all battles."""
        self._runs.halt(*(battle.last for battle in self.battles.all()), timeout_s=CLOSE_TIMEOUT_S)

    # --- inside

    def _learn_client_keys(self) -> None:
        keys = wait_for(self._store.battles.client_keys(period_now()))
        use_client_keys(keys)

    def _open(self, client: str) -> Controls:
        """The operator's controls. Raises BusyError if they allow an address no battle now."""
        controls = controls_of(self._store.battles.controls())
        if controls.is_paused:
            raise BusyError(Phrase("The operator has paused the Arena. Try again later."))
        if not self.operator.has_battles_left(controls, client):
            raise BusyError(Phrase("The Arena has had all its battles for today. Come back tomorrow."))
        return controls

    def _may_start(self, visitor_key: str) -> bool:
        """Whether the visitor may start one more battle: neither deleting some nor another server gives more."""
        most, since = self._runs.config.arena.max_per_hour, datetime.now(UTC) - timedelta(hours=1)
        stored = self._store.battles.num_started(since, visitor_key)
        return stored < most and self._moderator.may_start(owner_of(visitor_key))

    def _draw(self, before: Battle | None, controls: Controls) -> dict[Side, Contestant]:
        by_name = {one.name: one for one in self.contestants}
        if len(by_name) < 2:
            raise GacError(
                Phrase("A battle needs two contestants. The configuration has one member and lists no others.")
            )
        present = {one.name for one in before.pair.values()} if before else set[str]()
        probs = pair_probs(controls.drawn(list(by_name)), *self.standings.for_drawing(), controls.weights)
        left, right = draw_pair(probs, present, self._rng)
        return {"left": self._blinded(by_name[left]), "right": self._blinded(by_name[right])}

    def _blinded(self, one: Contestant) -> Contestant:
        """A contestant as it answers here: not greedily, unless the operator insists, since a greedy answer can be had
        on Compare with the name beside it; with a seed of its own, since the gate alone and with others would begin
        alike; and to a limit that nobody knows, since the number of tokens of a text that ends there would tell whose
        tokens they are, as would the end of one member's context.
        """
        members = self._runs.members.ensemble().members.values()
        most = min([one.settings.max_new_tokens, *(member.model.context_length // 2 for member in members)])
        changes = {
            "temperature": one.settings.temperature or self._runs.config.arena.temperature,
            "seed": self._rng.randrange(_SEEDS),
            "max_new_tokens": most - self._rng.randrange(most // 4 + 1),
        }
        return replace(one, settings=one.settings.model_copy(update=changes))

    def _is_known(self, one: Contestant) -> bool:
        """Whether this server's members can answer for a contestant of another server. Their own refusal names them."""
        config = self._runs.config
        try:
            config.settings_from(one.settings.model_dump())
        except RequestError:
            return False
        return one.member is None or one.member in config.member_names

    def _begin(self, battle: Battle, turn: BattleRun, on_taken: Callable[[], None]) -> None:
        """Queue a turn. Once it is queued, it belongs to the battle."""
        turn.contestants = self.contestants

        def take() -> None:
            battle.turns = [*battle.begun_turns, turn]
            on_taken()

        def end() -> None:
            turn.note_tempo(self._tempo)
            self._write_end(battle)

        self._runs.carry_out(turn, on_taken=take, on_ended=end)

    # --- in the database

    def _write_start(self, battle: Battle, visitor_key: str) -> None:
        new = NewBattle(
            battle_id=battle.id,
            visitor_key=visitor_key,
            left=battle.pair["left"].name,
            right=battle.pair["right"].name,
            body=body_of(battle, self._runs.versions),
            origin=Origin.PEOPLE,
            is_blind=True,
            language=battle.language,
            config_hash=self._runs.config_hash,
            client=voter_of(battle.client),
        )
        log_failure(self._store.battles.start(new), f"battle {battle.id}")

    def _write_end(self, battle: Battle) -> None:
        """Write the battle's final status and its whole record, as of one moment."""
        with battle.lock:
            self._write(battle, battle.status, body_of(battle, self._runs.versions))

    def _write(self, battle: Battle, status: str, body: dict[str, Any] | None = None) -> None:
        log_failure(self._store.battles.update(battle.id, status, body), f"battle {battle.id}")
