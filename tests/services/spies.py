"""Spies: clients that try to name the sides of a battle before they vote, each by one channel.

A spy of `OF_SIDES` is told which two contestants answer, and has to say which is left: chance gives half of them. A spy
of `OF_PAIRS` is not told, and has to name the pair. They see what the page's calls and the health routes give.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi.testclient import TestClient
from scipy.stats import binomtest

from gac_app.config import ServerConfig
from gac_app.errors import unpacked
from gac_app.server.host import bare_host
from gac_app.services.battles.arena import ArenaService
from gac_app.services.runs.runs import RunService
from gac_app.services.runs.views import member_stream
from gac_app.ui.arena.tab import arena_functions
from gac_app.ui.requests import replying
from tests.services.house import ALICE, ended, names_in, until

NUM_LEARNT = 12  # battles that a spy learns from


@dataclass(frozen=True)
class Score:
    """How often a spy was right."""

    channel: str
    num_right: int
    num_battles: int
    chance: float = 0.5

    @property
    def p_value(self) -> float:
        """The probability that somebody who guesses is right as often."""
        return float(binomtest(self.num_right, self.num_battles, self.chance, "greater").pvalue)

    def __str__(self) -> str:
        low, high = binomtest(self.num_right, self.num_battles).proportion_ci()
        found = f"{self.num_right}/{self.num_battles} = {self.num_right / self.num_battles:.0%}"
        return f"{self.channel:28} {found:>15}, 95 % interval {low:.0%} to {high:.0%}, chance {self.chance:.0%}"


class Spies:
    """Plays battles of an arena and guesses.

    Args:
        fastest: the contestants' names, the fastest first, as anybody finds out by asking on Compare.
    """

    def __init__(self, arena: ArenaService, runs: RunService, fastest: Sequence[str], prompts: Sequence[str]) -> None:
        self.arena, self.runs, self._fastest, self._prompts = arena, runs, fastest, prompts
        self._calls: dict[str, Callable[[object], dict[str, Any]]] = {
            one.__name__: replying(one) for one in arena_functions(arena, runs.config.member_names)
        }
        self._health = TestClient(bare_host(runs, ServerConfig()), base_url="http://localhost:7860")
        self._coin = random.Random(1)
        self._num = 0
        self._compared: dict[str, dict[str, str]] = {}
        self._learnt: list[tuple[list[float], frozenset[str]]] = []

    # --- what a client can do

    def call(self, name: str, **fields: Any) -> dict[str, Any]:
        return self._calls[name]({"key": ALICE, **fields})

    def start(self, prompt: str = "") -> str:
        self._num += 1
        return self.arena.start(ALICE, prompt or self._prompts[self._num % len(self._prompts)]).id

    def look(self, battle: str) -> dict[str, Any]:
        return self.call("look_battle", battle=battle)

    def begun(self, battle: str) -> dict[str, Any]:
        """The battle, as soon as it can be judged."""
        until(lambda: self.look(battle)["state"]["may_vote"], "for the first words")
        return self.look(battle)

    def answered(self, battle: str) -> dict[str, Any]:
        until(lambda: self.look(battle)["state"]["phase"] == "answered", "for the answers")
        return self.look(battle)

    def settled(self, battle: str, num_looks: int = 6) -> list[str]:
        """The texts, once nothing new has come for some looks: the most that is shown."""
        texts, num_same = self.look(battle)["texts"], 0
        while num_same < num_looks:
            time.sleep(0.02)
            now = self.look(battle)["texts"]
            num_same = num_same + 1 if now == texts else 0
            texts = now
        return list(texts)

    # --- guesses

    def is_right(self, battle: str, left_rather_than_right: Callable[[str], float]) -> bool:
        """Whether the guess is right, given how much speaks for each contestant's being left."""
        left, right = names_in(self.arena, ALICE, battle)
        clue = left_rather_than_right(left) - left_rather_than_right(right)
        return clue > 0 if clue else self._coin.random() < 0.5

    def by_length(self, battle: str, texts: list[str]) -> bool:
        """The side with more text is the faster contestant."""
        left, right = map(len, texts)
        return self.is_right(battle, lambda name: (right - left) * self._fastest.index(name))

    def by_text(self, battle: str, texts: list[str], known: dict[str, list[str]]) -> bool:
        """A side that repeats a known answer of one contestant, as far as it is shown, is that contestant."""

        def clue(name: str) -> float:
            left, right = (any(text and one.startswith(text) for one in known.get(name, ())) for text in texts)
            return float(left) - float(right)

        return self.is_right(battle, clue)

    # --- the channels

    def stop(self) -> bool:
        battle = self.start()
        self.begun(battle)
        self.call("stop_battle", battle=battle)
        self.arena.battles.find(ALICE, battle).last.over.wait(30.0)
        return self.by_length(battle, self.settled(battle))

    def skip(self) -> bool:
        battle = self.start()
        self.begun(battle)
        self.call("skip_battle", battle=battle)
        return self.by_length(battle, self.settled(battle))

    def compare(self) -> bool:
        """The same prompt on Compare, with each contestant's settings."""
        prompt = self._prompts[self._num % len(self._prompts)]
        if prompt not in self._compared:
            self._compared[prompt] = {name: self._on_compare(prompt, name) for name in self._fastest}
        battle = self.start(prompt)
        known = {name: [text] for name, text in self._compared[prompt].items()}
        return self.by_text(battle, self.answered(battle)["texts"], known)

    def _on_compare(self, prompt: str, name: str) -> str:
        one = next(one for one in self.arena.contestants if one.name == name)
        run = ended(self.runs.start(ALICE, prompt, one.settings.model_dump()))
        return run.streams[member_stream(one.member) if one.member else "ensemble"].text

    def skipped_list(self, num_before: int = 2) -> bool:
        """Battles of the same prompt are skipped; the list and the export of own battles name who answered."""
        prompt, known = self._prompts[self._num % len(self._prompts)], dict[str, list[str]]()
        for _ in range(num_before):
            battle = self.start(prompt)
            texts = self.answered(battle)["texts"]
            self.call("skip_battle", battle=battle)
            self.arena._store.flush()
            listed = next(one for one in self.call("own_battles")["battles"] if one["id"] == battle)
            for name, text in zip(listed["names"], texts, strict=False):
                known.setdefault(name, []).append(text)
            for line in map(json.loads, self.call("save_battles", format="jsonl")["content"].splitlines()):
                if line["battle_id"] == battle:
                    known.setdefault(line["left"], []).append(texts[0])
                    known.setdefault(line["right"], []).append(texts[1])
        battle = self.start(prompt)
        return self.by_text(battle, self.answered(battle)["texts"], known)

    # --- channels that tell the pair

    def health(self) -> bool:
        """`/readyz` tells which members keep more than before."""
        before = self._kept()
        battle = self.start()
        self.answered(battle)
        until(lambda: self.arena.battles.find(ALICE, battle).last.over.is_set())
        time.sleep(0.05)
        more = {name: num - before.get(name, 0) for name, num in self._kept().items()}
        pair = names_in(self.arena, ALICE, battle)
        self.call("delete_battle", battle=battle)  # makes room, so that the next one shows as well
        fitting = [two for two in self._pairs() if self._uses(two) == more] or self._pairs()
        return set(self._coin.choice(fitting)) == set(pair)

    def _kept(self) -> dict[str, int]:
        kept = self._health.get("/readyz").json().get("kept_prefixes", {})
        return {name: one["num_sequences"] for name, one in kept.items() if isinstance(one, dict)}

    def _pairs(self) -> list[tuple[str, str]]:
        names = self._fastest
        return [(one, other) for index, one in enumerate(names) for other in names[:index]]

    def _uses(self, pair: tuple[str, str]) -> dict[str, int]:
        """By member, how many of the pair it works for."""
        by_name = {one.name: one for one in self.arena.contestants}
        return {
            member: sum(by_name[name].member in (None, member) for name in pair)
            for member in self.runs.config.member_names
        }

    def tempo(self) -> bool:
        """How soon and how fast the answers of each pair are shown."""
        return self._guess_by(self._timed)

    def beside(self) -> bool:
        """How fast each member answers on Compare meanwhile."""
        return self._guess_by(self._compared_meanwhile)

    def _guess_by(self, clues_of: Callable[[str], list[float]]) -> bool:
        """Whether the nearest clues of earlier battles, whose names came with the vote, are of the same pair."""
        while len(self._learnt) < NUM_LEARNT:
            self._learnt.append(self._judged(clues_of))
        clues, pair = self._judged(clues_of)

        def distance(known: list[float]) -> float:
            return sum(abs(one - other) / (one + other + 1e-9) for one, other in zip(clues, known, strict=True))

        by_pair: dict[frozenset[str], list[float]] = {}
        for known, its_pair in self._learnt:
            by_pair.setdefault(its_pair, []).append(distance(known))
        self._learnt.append((clues, pair))
        return min(by_pair, key=lambda one: sum(by_pair[one]) / len(by_pair[one])) == pair

    def _judged(self, clues_of: Callable[[str], list[float]]) -> tuple[list[float], frozenset[str]]:
        """The clues of a new battle, and its pair, which is told after a vote."""
        clues = clues_of(battle := self.start())
        ballot = self.answered(battle)["state"]["ballot"]
        self.call("vote_battle", battle=battle, ballot=ballot, outcome="tie")
        told = self.call("look_battle", battle=battle)["state"]["contestants"]
        return clues, frozenset(unpacked(one["name"]) for one in told)

    def _timed(self, battle: str) -> list[float]:
        """Seconds to the first words, and characters per second from then on."""
        asked_at = time.monotonic()
        while not any((seen := self.look(battle))["texts"]):
            time.sleep(0.005)
        first_at, num_first = time.monotonic(), max(map(len, seen["texts"]))
        while (seen := self.look(battle))["state"]["phase"] != "answered":
            time.sleep(0.005)
        rate = (max(map(len, seen["texts"])) - num_first) / (time.monotonic() - first_at)
        return [first_at - asked_at, rate]

    def _compared_meanwhile(self, battle: str) -> list[float]:
        """Tokens per second of every stream of a short run."""
        run = ended(self.runs.start(ALICE, "Meanwhile", {"max_new_tokens": 8}))
        return [stream.finished.tokens_per_s if stream.finished else 0.0 for stream in run.streams.values()]

    # --- all of them

    def score(self, channel: str, num_battles: int) -> Score:
        attack: Callable[[], bool] = getattr(self, channel)
        num_right = sum(attack() for _ in range(num_battles))
        num_pairs = len(self._pairs())
        return Score(channel, num_right, num_battles, 1 / num_pairs if channel in OF_PAIRS else 0.5)


OF_SIDES = ("stop", "skip", "compare", "skipped_list")
OF_PAIRS = ("health", "tempo", "beside")
