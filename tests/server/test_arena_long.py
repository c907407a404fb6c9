"""Visitors of a real server's Arena over HTTP: none sees another's words, and no acknowledged vote is lost.

A few seconds of it belong to every run; `pytest -m long -s tests/server/test_arena_long.py` takes minutes.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import secrets
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from gac_app.arena.outcomes import Outcome
from gac_app.arena.rating.ratings import win_probability
from gac_app.services.battles.standings import Standings
from gac_app.storage import Store
from tests.databases import sql
from tests.server.site import API, START_S, Page, Visitor, serving
from tests.ui.planted_votes import plant_vote

pytestmark = [pytest.mark.process, pytest.mark.slow]

NUM_KILLED_VISITORS = 5
BUSY = (429, 503)
TASTE = {"zyxone": 1000.0, "zyxtwo": 940.0, "every step": 1080.0, "gate": 1060.0}
TARGET = "zyxtwo"
CONFIG = """
members:
- {name: zyxone, source: "random:1"}
- {name: zyxtwo, source: "random:2"}
settings: {max_new_tokens: 8}
arena: {max_per_hour: 100000, min_seconds: 0.0}
server: {max_running: 4, max_waiting: 40}
lab: {is_open: false}
"""


class Judge(Visitor):
    """One browser on the Arena tab, which battles and votes without a pause.

    Attributes:
        is_voting: a vote is on its way to the server, or its answer back.
        votes: outcomes by battle, of votes that the server acknowledged.
        foreign: what the server said that names another's battle.
    """

    def __init__(self, url: str, page: Page, number: int, address: str = "") -> None:
        super().__init__(url, page, address=address or f"127.0.1.{number + 1}", key=f"{number:064}")
        arena = next(one for one in page.config["components"] if one["props"].get("elem_id") == "gac-arena")
        self.component = arena["id"]
        events = page.config["dependencies"]
        self.start_event = next(one["id"] for one in events if [arena["id"], "start"] in one["targets"])
        self.own = f"of-{number}-only"
        self.is_voting = False
        self.votes: dict[str, str] = {}
        self.foreign: list[str] = []
        self.refused: Counter[int] = Counter()

    async def post(self, route: str, **body: Any) -> Any:
        while True:
            answer = await self.http.post(f"{API}/{route}", json={"session_hash": self.session, **body})
            if answer.status_code not in BUSY:
                answer.raise_for_status()
                return answer.json()
            self.refused[answer.status_code] += 1
            await asyncio.sleep(float(answer.headers.get("retry-after", 1)))

    async def call(self, name: str, **data: Any) -> dict[str, Any]:
        fields = {"key": self.key, **data}
        reply = await self.post("component_server", component_id=self.component, fn_name=name, data=fields)
        self.note(json.dumps(reply))
        return dict(reply)

    def note(self, said: str) -> None:
        self.foreign += [word for word in re.findall(r"of-\d+-only", said) if word != self.own]

    async def battle(self, number: int) -> None:
        """One battle to its vote; none where the queue is full."""
        event = {"key": self.key, "prompt": f"{self.own} {number}", "again": "", "consents": True}
        await self.post("queue/join", data=[], event_data=event, fn_index=self.start_event, trigger_id=self.component)
        said = ""
        async for message in self.messages():
            said += json.dumps(message)
        self.note(said)
        assert "zyx" not in said, "a name before the vote"
        found = re.search(r'"id":"([0-9a-f]{32})"', said.replace("\\", ""))
        if found is None:
            return
        battle = found[1]
        outcome = self.outcome(battle, number)
        if not outcome:
            await self.call("skip_battle", battle=battle)
            return
        reply = await self.call("look_battle", battle=battle)
        self.is_voting = True
        reply = await self.call("vote_battle", battle=battle, ballot=reply["state"]["ballot"], outcome=outcome)
        self.is_voting = False
        if "state" in reply:
            assert reply["state"]["outcome"] == outcome
            self.votes[battle] = outcome

    def outcome(self, battle: str, number: int) -> str:
        """What to vote; "" = skip."""
        return list(Outcome)[number % 4]

    async def battles(self, until_s: float) -> None:
        async with self:
            for number in range(1_000_000):
                if time.monotonic() > until_s:
                    return
                await self.battle(number)


class Attacker(Judge):
    """Knows who answers, and skips battles until its favourite is there."""

    folder: Path

    def outcome(self, battle: str, number: int) -> str:
        names = sql(self.folder / "gac.db", f"SELECT left, right FROM battle WHERE id = '{battle}'")[0]
        return dict(zip(names, ("left", "right"), strict=True)).get(TARGET, "")

    async def votes_for(self, num: int) -> None:
        async with self:
            for number in range(1_000_000):
                if len(self.votes) >= num:
                    return
                await self.battle(number)


def stored_votes(folder: Path) -> dict[str, str]:
    store = Store(f"sqlite:///{folder / 'gac.db'}")
    try:
        return {row.battle_id: row.outcome for row in store.battles.votes()}
    finally:
        store.close()


def check_own(folder: Path, judges: list[Judge]) -> None:
    """Each was shown and has stored what is its own, and that alone."""
    assert [word for judge in judges for word in judge.foreign] == []
    store = Store(f"sqlite:///{folder / 'gac.db'}")
    for judge in judges:
        own = list(store.battles.export(judge.key))
        assert {one.battle_id for one in own} >= judge.votes.keys()
        assert all(one.body["turns"][0]["prompt"].startswith(f"{judge.own} ") for one in own)
    store.close()


@pytest.mark.parametrize("num_kills", [1, pytest.param(20, marks=pytest.mark.long)])
def test_kill_9_between_click_and_answer_loses_no_vote(tmp_path: Path, num_kills: int) -> None:
    """Votes come all the time; those without an answer may be there or not, the others are. Nobody sees another's."""
    voted: dict[str, str] = {}
    for _ in range(num_kills):
        with serving(tmp_path, CONFIG) as (process, url):
            page = Page.of(url)
            judges = [Judge(url, page, number) for number in range(NUM_KILLED_VISITORS)]

            async def kill(process: subprocess.Popen[bytes], judges: list[Judge]) -> None:
                until_s = time.monotonic() + START_S
                tasks = [asyncio.create_task(judge.battles(until_s)) for judge in judges]
                while not all(judge.votes for judge in judges):
                    await asyncio.sleep(0.01)
                await asyncio.sleep(random.uniform(0.05, 1.0))
                while not any(judge.is_voting for judge in judges):
                    await asyncio.sleep(0)
                await asyncio.sleep(random.uniform(0.0, 0.03))  # a vote takes about so long
                process.kill()
                done = await asyncio.gather(*tasks, return_exceptions=True)
                assert all(isinstance(one, httpx.HTTPError) for one in done), done

            asyncio.run(kill(process, judges))
        voted |= {battle: outcome for judge in judges for battle, outcome in judge.votes.items()}
        stored = stored_votes(tmp_path)
        assert {battle: stored.get(battle) for battle in voted} == voted
        check_own(tmp_path, judges)
    print(f"{len(voted)} acknowledged votes and {len(stored)} stored ones after {num_kills} kills")
    assert len(voted) >= num_kills


def target(folder: Path) -> float:
    """The target's rating."""
    store = Store(f"sqlite:///{folder / 'gac.db'}", is_owner=False)
    board = Standings(store, sorted(TASTE), 5).rated("blind")
    store.close()
    (rating,) = (line.rating for line in board.standings if line.name == TARGET)
    assert rating is not None
    return rating


@pytest.mark.long
def test_five_patient_addresses_move_a_contestant_little(tmp_path: Path) -> None:
    """Two keys of each vote 17 times for the weakest, beside 60 visitors with 8 votes and 400 with one."""
    rng, store = random.Random(7), Store(f"sqlite:///{tmp_path / 'gac.db'}")
    for num_visitors, num_votes in ((60, 8), (400, 1)):
        for _ in range(num_visitors):
            key = secrets.token_hex(32)
            for _ in range(num_votes):
                left, right = rng.sample(sorted(TASTE), 2)
                outcome = "left" if rng.random() < win_probability(TASTE[left], TASTE[right]) else "right"
                plant_vote(store, left, right, outcome, key, client=key[:24])
    store.close()
    before = target(tmp_path)
    with serving(tmp_path, CONFIG) as (_, url):
        page, keys = Page.of(url), range(10)
        attackers = [Attacker(url, page, key, f"127.0.2.{1 + key // 2}") for key in keys]
        for one in attackers:
            one.folder = tmp_path

        async def attack() -> None:
            await asyncio.gather(*(one.votes_for(8 + key % 2) for key, one in zip(keys, attackers, strict=True)))

        asyncio.run(attack())
    moved = target(tmp_path) - before
    print(f"85 votes of five addresses over HTTP move {TARGET} by {moved:+.1f} Elo")
    assert len(stored_votes(tmp_path)) == 60 * 8 + 400 + 85
    assert 0 < moved <= 15
