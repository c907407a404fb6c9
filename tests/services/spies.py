"""Spies: clients that try to name the sides of a battle before they vote, each by one channel.

A spy of `OF_SIDES` is told which two contestants answer, and has to say which is left: chance gives half of them. A spy
of `OF_PAIRS` is not told, and has to name the pair. They see what the page's calls and the health routes give.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from fastapi.testclient import TestClient

from gac_app.config import ServerConfig
from gac_app.errors import unpacked
from gac_app.server.host import bare_host
from gac_app.services.battles.arena import ArenaService
from gac_app.services.runs.runs import RunService
from gac_app.services.runs.views import member_stream
from gac_app.ui.arena.lines import texts_of
from gac_app.ui.arena.tab import arena_functions
from gac_app.ui.requests import replying
from tests.guessing import Score, learnt
from tests.services.house import ALICE, ended, names_in, until

Clues = dict[str, float]


class Spies:
    """Plays battles of an arena and guesses. Who is `fastest`, the first, anybody finds out by asking on Compare."""

    def __init__(self, arena: ArenaService, runs: RunService, fastest: Sequence[str], prompts: Sequence[str]) -> None:
        self.arena, self.runs, self._fastest, self._prompts = arena, runs, fastest, prompts
        self._calls: dict[str, Callable[[object], dict[str, Any]]] = {
            one.__name__: replying(one) for one in arena_functions(arena, runs.config.member_names)
        }
        self._health = TestClient(bare_host(runs, ServerConfig()), base_url="http://localhost:7860")
        self._coin = random.Random(1)
        self._num = 0
        self._compared: dict[str, dict[str, str]] = {}

    def call(self, name: str, **fields: Any) -> dict[str, Any]:
        return self._calls[name]({"key": ALICE, **fields})

    def start(self, prompt: str = "") -> str:
        self._num += 1
        return self.arena.start(ALICE, prompt or self._prompts[self._num % len(self._prompts)]).id

    def look(self, battle: str) -> dict[str, Any]:
        texts = texts_of(self.arena.battles.look(ALICE, battle))  # as streamed
        return {**self.call("look_battle", battle=battle), "texts": texts}

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

    # --- what may tell the pair

    def watch(self) -> Clues:
        """A battle beside a run on Compare, both to their ends."""
        clues, before, asked_at = dict[str, float](), self._figures(), time.monotonic()
        battle = self.start()
        run = self.runs.start(ALICE, "Meanwhile", {"max_new_tokens": 4})
        seen = [(0.0, 0)]  # seconds, and characters of the longer answer
        while (now := self.look(battle))["state"]["phase"] != "answered":
            if (num := max(map(len, now["texts"]))) > seen[-1][1]:
                seen.append((time.monotonic() - asked_at, num))
            time.sleep(0.005)
        (begun_s, first), (ended_s, last) = seen[1], seen[-1]
        clues |= {"start": begun_s, "rate": (last - first) / (ended_s - begun_s)}
        clues["pause"] = max(after - before for (before, _), (after, _) in pairwise(seen[1:]))
        clues |= {f"beside {key}": end.tokens_per_s for key, one in ended(run).streams.items() if (end := one.finished)}
        clues["wait"] = time.monotonic() - asked_at - ended_s
        return clues | {name: figure - before.get(name, 0.0) for name, figure in self._figures().items()}

    def cut_short(self) -> Clues:
        """A battle that is stopped after its first words."""
        self.begun(battle := self.start())
        stopped_at = time.monotonic()
        self.call("stop_battle", battle=battle)
        clues = {"call": time.monotonic() - stopped_at}
        self.answered(battle)
        return clues | {"answered": time.monotonic() - stopped_at}

    def _figures(self) -> dict[str, float]:
        told = self._health.get("/readyz").text
        return {f"figure {num}": float(figure) for num, figure in enumerate(re.findall(r"[\d.]*\d", told))}

    def told(self) -> str:
        """The pair of the last battle, once a vote is stored."""
        battle = self.arena.battles.all()[-1].id
        self.call("vote_battle", battle=battle, version=self.answered(battle)["state"]["version"], outcome="tie")
        contestants = self.look(battle)["state"]["contestants"]
        return " ".join(sorted(unpacked(one["name"]) for one in contestants))

    def learns(self, channel: str, num_battles: int) -> Score:
        """How often so many battles tell their pairs."""
        see: Callable[[], Clues] = getattr(self, channel)
        battles = [(see(), self.told()) for _ in range(num_battles)]
        clues = {name: [seen.get(name, 0.0) for seen, _ in battles] for name in battles[0][0]}
        return learnt(clues, [pair for _, pair in battles])

    def score(self, channel: str, num_battles: int) -> Score:
        attack: Callable[[], bool] = getattr(self, channel)
        return Score(channel, sum(attack() for _ in range(num_battles)), num_battles)


OF_SIDES = ("stop", "skip", "compare", "skipped_list")
OF_PAIRS = ("watch", "cut_short")
