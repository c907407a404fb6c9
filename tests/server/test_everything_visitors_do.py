"""Whatever two visitors do, and however the server ends: what is there is what a model says, and nothing else is left.

Every prompt holds a word of its own. A word whose runs and battles are all deleted is nowhere: on no page, in no
export, in no line of the mirror.
"""

from __future__ import annotations

import copy
import json
import re
import secrets
import shutil
import tempfile
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from gac_app.bootstrap import connect
from gac_app.server.host import HostSecrets, create_host
from gac_app.services.members import Members
from gac_app.services.mirror.files import import_files
from gac_app.storage import Store
from tests.clocks import show_at_once
from tests.databases import database_in, locked
from tests.fakes import WAIT_S, FakeModel, config_of, ensemble_of
from tests.server.site import Tab, served
from tests.services.house import ALICE, BOB, until

KEYS = (ALICE, BOB)
VISITORS = st.integers(0, 1)
PICKED = st.integers(0, 99)  # of the runs or battles that are there
BOARD, ARENA = "gac-board", "gac-arena"
READS = ("open", "inspect_step", "read_tokens", "find_forks", "read_turns")  # of runs, which may be shared
BATTLE_CALLS = ("look_battle", "seen_battle", "stop_battle", "skip_battle", "vote_battle")
CALLS = {
    BOARD: (*READS[1:], "seen_run", "stop_run", "saved_run", "share_run", "vote_run"),
    ARENA: (*BATTLE_CALLS, "remark_battle", "battle_tokens", "inspect_answer", "delete_battle"),
}
EVENTS = {BOARD: ("open", "rerun", "branch", "revise", "compare", "regenerate", "extend"), ARENA: ("next", "follow")}
FIELDS: dict[str, Any] = {"stream": "ensemble", "position": 0, "first": 0, "token": 5, "is_shared": True}
FIELDS |= {"with_turns": True, "outcome": "tie", "prompt": "Mine", "settings": None, "version": 0, "side": "left"}
FIELDS |= {"turn": 0, "member": "", "left": [], "right": [], "comment": ""}
SHORT, NO_END = 3, 30_000  # tokens


def words(said: object) -> set[str]:
    """The prompts' words, in whatever form."""
    return set(re.findall(r"word\d+w", said if isinstance(said, str) else json.dumps(said)))


@dataclass
class One:
    """A run or battle as it must be. `before`: words of the turns before it; `page`: follows it while it goes on."""

    id: str
    owner: int
    word: str
    is_battle: bool = False
    is_published: bool = False
    before: set[str] = field(default_factory=set)
    outcome: str = ""
    is_skipped: bool = False
    is_shared: bool = False
    shares_turns: bool = False
    page: Future[str] | None = None
    has_no_end: bool = False  # would go on as long if it were asked again
    is_unanswered: bool = False  # killed, so that no model reads it before a later turn

    @property
    def part(self) -> str:
        return ARENA if self.is_battle else BOARD


class Site:
    """The host over a folder with a database and a mirror, and a page of each visitor."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._open = folder, ExitStack()
        more = {"mirror": {"folder": folder / "mirror"}, "arena": {"max_per_hour": 10_000, "min_seconds": 0.0}}
        more["server"] = {"max_running": 3}  # two may have no end
        config = config_of(["a", "b"], {"max_new_tokens": SHORT}, **more)
        services = connect(config, Store(database_in(folder / "gac.db")), {}, Members(config))
        models = [FakeModel(name, seed, delay_s=0.002, context_length=2 * NO_END) for seed, name in enumerate("ab", 1)]
        services.runs.members.use(ensemble_of(models, config))
        assert services.runs.mirror
        self.store, self.mirror, self.exports = services.runs._store, services.runs.mirror, services.exports
        host = create_host(services.runs, config, None, services.arena, self.exports, HostSecrets(operator="secret"))
        http = httpx.Client(base_url=self._open.enter_context(served(host)), timeout=WAIT_S)
        self.http = self._open.enter_context(http)
        self.tabs = [Tab(self.http, key) for key in KEYS]

    def wait_for_writes(self) -> None:
        until(lambda: self.mirror.is_restored and not self.mirror.num_waiting, "for the mirror")

    def close(self) -> None:
        self._open.close()

    def files(self) -> str:
        return "".join(path.read_text("utf-8") for path in sorted((self.folder / "mirror").glob("*")))

    def copied(self) -> Path:
        """A new folder with the files as a kill at this moment leaves them."""
        left = Path(tempfile.mkdtemp(dir=self.folder.parent))
        with locked(self.folder / "gac.db"):  # nothing is written meanwhile
            for path in self.folder.glob("gac.db*"):
                shutil.copy(path, left)
        if (self.folder / "mirror").exists():
            shutil.copytree(self.folder / "mirror", left / "mirror")
        return left


class Visitors(RuleBasedStateMachine):
    """Two visitors of one site, and the model of what is theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers, self.runs, self.battles = count(), list[One](), list[One]()
        self.kept = list[str]()
        self.gone = list[One]()
        self._open = ExitStack()
        folder = Path(self._open.enter_context(tempfile.TemporaryDirectory()), "first")
        folder.mkdir()
        self.pool = self._open.enter_context(ThreadPoolExecutor())
        self.site = Site(folder)

    def teardown(self) -> None:
        try:
            self.look()
        finally:
            self.site.close()
            self._open.close()

    # --- what visitors see

    def fresh_tab(self, visitor: int) -> Tab:
        """A page that shows nothing yet."""
        tab = copy.copy(self.site.tabs[visitor])
        tab.session = secrets.token_hex(5)
        return tab

    def word(self) -> str:
        return f"word{next(self.numbers)}w"

    def event(self, tab: Tab, part: str, name: str, **fields: Any) -> str:
        return tab.event(part, name, **fields).replace("\\", "")

    def refused(self, visitor: int, part: str, function: str, **fields: Any) -> bool:
        """Whether a call is refused, in words."""
        reply = self.site.tabs[visitor].reply(part, function, **fields)
        assert not words(reply)
        return "error" in reply

    def call(self, one: One, function: str, **fields: Any) -> dict[str, Any]:
        """What its owner is answered, after another visitor was refused."""
        asked = {"run": one.id, "battle": one.id, **fields}
        assert self.refused(1 - one.owner, one.part, function, **asked)
        return self.site.tabs[one.owner].reply(one.part, function, **asked)

    @precondition(lambda self: self.runs or self.battles)
    @rule(number=PICKED)
    def intrude(self, number: int) -> None:
        """Another visitor tries everything."""
        there = [*self.runs, *self.battles]
        one = there[number % len(there)]
        for function in set(CALLS[one.part]).difference(READS if one.is_shared else ()):
            assert self.refused(1 - one.owner, one.part, function, **FIELDS, run=one.id, battle=one.id), function
        for name in set(EVENTS[one.part]).difference(READS if one.is_shared else ()):
            said = self.event(self.fresh_tab(1 - one.owner), one.part, name, **FIELDS, run=one.id, battle=one.id)
            assert re.search("No such (run|battle)|is private", said), said
            assert not words(said)

    def read_turns(self, visitor: int, run: One) -> set[str]:
        return words(self.site.tabs[visitor].call(BOARD, "read_turns", run=run.id))

    def pick(self, number: int) -> One:
        return self.runs[number % len(self.runs)]

    def over(self) -> list[One]:
        return [run for run in self.runs if run.page is None]

    def short(self) -> list[One]:
        return [run for run in self.over() if not run.has_no_end]

    def live(self) -> list[One]:
        return [run for run in self.runs if run.page is not None]

    # --- runs

    @rule(visitor=VISITORS)
    def ask(self, visitor: int) -> None:
        word = self.word()
        self.add_run(visitor, word, self.fresh_tab(visitor).run(f"Say {word}"))

    def add_run(self, visitor: int, word: str, said: str) -> One:
        said = said.replace("\\", "")
        assert '"saved":true' in said, said[-2000:]
        found = re.search(r'{"run":{"id":"([0-9a-f]{32})"', said)
        assert found, said[:2000]
        run = One(found[1], visitor, word)
        run.before = self.read_turns(visitor, run)
        self.runs.append(run)
        return run

    @precondition(lambda self: self.over())
    @rule(number=PICKED)
    def ask_next(self, number: int) -> None:
        """Go on with a conversation that is opened."""
        parent, word = self.over()[number % len(self.over())], self.word()
        tab = self.fresh_tab(parent.owner)
        self.event(tab, BOARD, "open", run=parent.id)
        tab.session = secrets.token_hex(5)  # the server has forgotten the page's, or has begun anew
        run = self.add_run(parent.owner, word, tab.run(f"Say {word}"))
        assert {parent.word, *parent.before} <= run.before
        assert run.before <= {one.word for one in self.runs if one.owner == run.owner} - {word}

    @precondition(lambda self: self.short())
    @rule(number=PICKED, how=st.sampled_from(["rerun", "regenerate", "extend", "revise"]))
    def ask_again(self, number: int, how: str) -> None:
        parent = self.short()[number % len(self.short())]
        word = self.word() if how == "revise" else parent.word
        more = {"prompt": f"Say {word}", "settings": None} if how == "revise" else {}
        said = self.event(self.fresh_tab(parent.owner), BOARD, how, run=parent.id, stream="ensemble", **more)
        run = self.add_run(parent.owner, word, said)
        assert run.before == (set() if how == "rerun" else parent.before)

    @precondition(lambda self: len(self.live()) < 2)
    @rule(visitor=VISITORS)
    def ask_for_long(self, visitor: int) -> None:
        """A run that goes on while other things happen."""
        word, begun, tab = self.word(), threading.Event(), self.fresh_tab(visitor)
        page = self.pool.submit(tab.run, f"Say {word}", begun.set, max_new_tokens=NO_END)
        assert begun.wait(WAIT_S)
        until(lambda: [row for row in self.listed(visitor) if word in row["prompt"]], "for its row")
        [row] = [row for row in self.listed(visitor) if word in row["prompt"]]
        self.runs.append(One(row["id"], visitor, word, page=page, has_no_end=True))

    @precondition(lambda self: self.live())
    @rule(number=PICKED)
    def stop(self, number: int) -> None:
        run = self.live()[number % len(self.live())]
        assert self.call(run, "stop_run") == {}
        self.end(run)

    def end(self, run: One) -> None:
        assert run.page
        assert run.word in run.page.result(WAIT_S)
        run.page = None

    @precondition(lambda self: self.runs)
    @rule(number=PICKED, outcome=st.sampled_from(["ensemble", "member:a", "tie", "all-bad", ""]))
    def vote(self, number: int, outcome: str) -> None:
        """Or take the vote back."""
        run = self.pick(number)
        assert self.call(run, "vote_run", outcome=outcome) == {}
        run.outcome = outcome

    @precondition(lambda self: self.runs)
    @rule(number=PICKED, is_shared=st.booleans(), with_turns=st.booleans())
    def share(self, number: int, is_shared: bool, with_turns: bool) -> None:
        run = self.pick(number)
        reply = self.call(run, "share_run", is_shared=is_shared, with_turns=with_turns)
        assert ("error" in reply) == (run.page is not None), reply
        if not run.page:
            run.is_shared, run.shares_turns = is_shared, is_shared and with_turns

    # --- battles

    @precondition(lambda self: not self.live())  # it waits for those of its address
    @rule(visitor=VISITORS, consents=st.booleans())
    def battle(self, visitor: int, consents: bool) -> None:
        word, tab = self.word(), self.fresh_tab(visitor)
        said = self.event(tab, ARENA, "start", prompt=f"Say {word}", again="", consents=consents)
        found = re.search(r'"id":"([0-9a-f]{32})"', said)
        assert found, said[-2000:]
        self.site.store.flush(WAIT_S)
        self.battles.append(One(found[1], visitor, word, is_battle=True, is_published=consents))

    @precondition(lambda self: self.battles)
    @rule(number=PICKED, outcome=st.sampled_from(["left", "right", "tie", "both-bad"]), is_skipped=st.booleans())
    def judge(self, number: int, outcome: str, is_skipped: bool) -> None:
        """Vote, or skip it; what was judged or skipped already is refused."""
        battle = self.battles[number % len(self.battles)]
        version = self.call(battle, "look_battle")["state"]["version"]
        reply = self.call(battle, "skip_battle" if is_skipped else "vote_battle", outcome=outcome, version=version)
        if battle.outcome or battle.is_skipped:
            assert "error" in reply
        elif is_skipped:
            battle.is_skipped = True
            self.site.store.flush(WAIT_S)
        else:
            assert reply["state"]["outcome"] == outcome
            battle.outcome = outcome

    # --- what goes

    @precondition(lambda self: self.runs)
    @rule(number=PICKED, is_whole=st.booleans())
    def delete_run(self, number: int, is_whole: bool) -> None:
        """Or its conversation."""
        run = self.pick(number)
        tab = self.site.tabs[run.owner]
        talk = next(one for one in tab.conversations() if run.id in [row["id"] for row in one["runs"]])
        function, fields = "delete_runs", {"runs": [run.id]}
        if is_whole:
            function, fields = "delete_conversation", {"conversation": talk["id"]}
        self.site.tabs[1 - run.owner].reply("gac-history", function, **fields)
        assert run.id in [row["id"] for row in self.listed(run.owner)], "another visitor deletes nothing"
        tab.call("gac-history", function, **fields)
        doomed = {row["id"] for row in talk["runs"]} if is_whole else {run.id}
        self.forget([one for one in self.runs if one.id in doomed], [])

    @precondition(lambda self: self.battles)
    @rule(number=PICKED)
    def delete_battle(self, number: int) -> None:
        battle = self.battles[number % len(self.battles)]
        assert self.call(battle, "delete_battle") == {}
        self.forget([], [battle])

    @rule(visitor=VISITORS)
    def delete_all(self, visitor: int) -> None:
        self.site.wait_for_writes()  # until then it is to be repeated
        self.site.tabs[visitor].call("gac-history", "delete_all")
        own = [[one for one in some if one.owner == visitor] for some in (self.runs, self.battles)]
        self.forget(*own)

    def forget(self, runs: list[One], battles: list[One]) -> None:
        """These are deleted; turns that read them are stopped."""
        doomed = [run.id for run in runs]
        self.gone += [*runs, *battles]
        for run in runs:
            if run.page:
                self.end(run)
        self.runs = [run for run in self.runs if run.id not in doomed]
        self.battles = [battle for battle in self.battles if battle not in battles]
        words, versions = {one.word for one in runs}, {one.word for one in self.runs}
        for run in self.runs:
            if others := run.before & words & versions:  # it may have read another version of that turn
                others &= self.read_turns(run.owner, run)
            run.before = run.before - words | others
        self.look()

    # --- the server ends

    @rule(is_killed=st.booleans())
    def restart(self, is_killed: bool) -> None:
        """A kill leaves the files as they are at that moment."""
        folder = self.site.copied() if is_killed else self.site.folder
        self.site.close()
        for run in self.live():
            run.page, run.is_unanswered = None, is_killed
        self.site = Site(folder)
        self.look()

    @rule()
    def lose_the_database(self) -> None:
        """Votes that visitors agreed to publish come back from the mirror, and nothing else."""
        for run in self.live():
            self.site.tabs[run.owner].call(BOARD, "stop_run", run=run.id)
            self.end(run)
        self.the_mirror_has_what_is_published()
        before = self.lines()
        self.site.close()
        for path in self.site.folder.glob("gac.db*"):
            path.unlink()
        self.site = Site(self.site.folder)
        self.site.wait_for_writes()
        self.runs.clear()
        self.battles = [battle for battle in self.battles if battle.is_published and battle.outcome]
        assert self.lines() == {one.id: before[one.id] for one in self.battles}

    def lines(self) -> dict[str, dict[str, Any]]:
        """What is exported, by its id."""
        lines = map(json.loads, self.site.exports.lines())
        return {line.get("battle_id") or line["run_id"]: line for line in lines}

    @rule()
    def take_an_export(self) -> None:
        self.kept = list(self.site.exports.lines())

    @rule()
    def import_it_again(self) -> None:
        """Of what was not lost with a database. It adds nothing, and brings nothing back."""
        known = [one.id for one in (*self.runs, *self.battles, *self.gone)]
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
            file.writelines(line for line in self.kept if any(line.find(one, 0, 60) > 0 for one in known))
            file.flush()
            result = import_files(self.site.store, [Path(file.name)])
        assert (result.num_new, result.num_bad) == (0, 0), result
        self.look()

    # --- what is there

    def listed(self, visitor: int) -> list[dict[str, Any]]:
        return self.site.tabs[visitor].history()

    @invariant()
    def each_visitor_has_their_own(self) -> None:
        for visitor in range(2):
            runs = {
                row["id"]: (*words(row["prompt"]), row["outcome"] or "", row["is_shared"], row["status"] == "running")
                for row in self.listed(visitor)
            }
            own = [run for run in self.runs if run.owner == visitor]
            assert runs == {run.id: (run.word, run.outcome, run.is_shared, run.page is not None) for run in own}
            battles = {row["id"]: row for row in self.site.tabs[visitor].call(ARENA, "own_battles")["battles"]}
            mine = [one for one in self.battles if one.owner == visitor and (one.outcome or one.is_skipped)]
            found = {key: (*words(row["prompt"]), row["outcome"] or "") for key, row in battles.items()}
            assert found == {one.id: (one.word, one.outcome) for one in mine}
            assert all(bool(battles[one.id]["names"]) is bool(one.outcome) for one in mine), "names come with a vote"

    def look(self) -> None:
        """Everywhere."""
        for one in self.gone:
            function = "look_battle" if one.is_battle else "read_turns"
            assert self.refused(one.owner, one.part, function, run=one.id, battle=one.id), "it is deleted"
        self.turns_are_for_those_who_may_read_them()
        self.exports_have_what_is_there()
        self.the_mirror_has_what_is_published()

    def turns_are_for_those_who_may_read_them(self) -> None:
        for run in self.over():
            assert self.read_turns(run.owner, run) == run.before
            if run.is_shared:
                said = self.event(self.fresh_tab(1 - run.owner), BOARD, "open", run=run.id)
                assert words(said) == {run.word, *(run.before if run.shares_turns else ())}
                assert ('"outcome":null' in said, '"is_own":true' in said) == (True, False), "nor is the vote told"
                for function in ("read_tokens", "find_forks"):
                    assert not self.refused(1 - run.owner, BOARD, function, run=run.id, stream="ensemble", first=0)
            else:
                assert self.refused(1 - run.owner, BOARD, "read_turns", run=run.id)

    def exports_have_what_is_there(self) -> None:
        unanswered = {run.word for run in self.runs if run.is_unanswered}
        there = {one.id: {one.word, *(one.before - unanswered)} for one in (*self.runs, *self.battles)}
        lines = [json.loads(line) for line in self.site.exports.lines()]
        ids = {line.get("battle_id") or line["run_id"]: line for line in lines}
        assert ids.keys() <= there.keys()
        told = [one for one in self.battles if one.outcome or one.is_skipped]
        assert {one.id for one in (*self.over(), *told)} <= ids.keys()
        for key, line in ids.items():
            assert words(line) == there[key]
        answer = self.site.http.get("/export", headers={"Authorization": "Bearer secret"})
        assert words(answer.text) == {one.word for one in told}

    def the_mirror_has_what_is_published(self) -> None:
        self.site.wait_for_writes()
        published = [battle for battle in self.battles if battle.is_published and battle.outcome]
        there = {one.word for one in published}
        until(lambda: words(self.site.files()) == there, "for the erasure of what is deleted")
        lines = [json.loads(line) for line in self.site.files().splitlines() if line.strip()]
        assert {line["battle_id"] for line in lines if "deleted" not in line} == {one.id for one in published}


@pytest.fixture(autouse=True)
def _nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Battles are shown at once, and no visitor asks too much."""
    show_at_once(monkeypatch)
    monkeypatch.setattr("gac_app.services.mirror.mirror.ERASE_EVERY_S", 0.05)
    monkeypatch.setattr("gac_app.server.limits.callers.REQUESTS_BURST", 1e6)


@pytest.mark.slow
@pytest.mark.hypothesis
def test_what_is_there_is_what_visitors_made_and_left() -> None:
    few = settings(max_examples=max(1, settings().max_examples // 6), stateful_step_count=30)
    run_state_machine_as_test(Visitors, settings=few)


@pytest.mark.slow
def test_a_day_of_two_visitors() -> None:
    """Everything that they may do, once, so that each run of all tests has it."""
    day = Visitors()
    try:
        the_day_of(day)
    finally:
        day.teardown()


def the_day_of(day: Visitors) -> None:
    day.ask(0)
    day.ask_next(0)  # of a turn that is not published
    day.ask(1)
    day.ask_for_long(0)
    for number, outcome in ((0, "tie"), (1, "all-bad"), (1, "ensemble"), (3, "member:a"), (2, "tie"), (2, "")):
        day.vote(number, outcome)
    for number, with_turns in ((0, False), (1, True), (1, False), (3, True)):
        day.share(number, True, with_turns)
    day.look()
    day.stop(0)
    for consents, how in ((True, False), (False, False), (True, True), (True, False)):
        day.battle(0, consents)
        day.judge(len(day.battles) - 1, "left", how)
    day.judge(0, "right", False)  # again
    day.battle(1, False)
    day.ask_for_long(0)
    for number in (0, 2, len(day.runs) - 1, len(day.runs)):  # shared, not, going on, a battle
        day.intrude(number)
    day.take_an_export()
    day.restart(True)
    day.judge(len(day.battles) - 1, "both-bad", False)
    day.share(1, True, True)
    day.intrude(2)
    day.intrude(len(day.runs))
    for how in ("rerun", "regenerate", "extend", "revise"):
        day.ask_again(1, how)
    day.look()
    day.vote(len(day.runs) - 1, "tie")
    day.vote(len(day.runs) - 1, "")
    day.ask_for_long(1)
    day.stop(0)
    day.ask_next(1)
    day.share(0, False, False)
    day.delete_run(1, False)
    day.delete_battle(0)
    day.delete_battle(len(day.battles) - 1)  # in memory
    day.import_it_again()
    day.ask_for_long(0)
    day.delete_run(len(day.runs) - 1, True)
    day.lose_the_database()
    day.import_it_again()
    day.each_visitor_has_their_own()
    day.ask(0)
    day.ask_next(0)
    day.delete_run(0, True)
    day.restart(False)
    day.battle(0, True)
    day.judge(len(day.battles) - 1, "tie", False)
    day.delete_all(0)
    day.ask_for_long(1)
    day.restart(True)
    day.ask_next(len(day.over()) - 1)  # after a turn without an answer
    day.each_visitor_has_their_own()
