"""Each address has an equal part of a model's time, then each of its browsers, whatever the others ask for."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future

import pytest

from gac_app.decoding.distribution import ReadResult
from gac_app.executors import fair_queue
from gac_app.executors.fair_queue import PRESENT_S, FairQueue, ReadCommand
from gac_app.executors.prefix_cache import NO_SLOT
from gac_app.models.sequence import BACKGROUND, ForwardRequest, KVSequence, Share
from tests.executors.conftest import Clock
from tests.executors.desk import LONG, Desk

ID_S = 0.01  # of a pass, by its ids
HOME, MILL = ("home", "ann"), "mill"


class Town:
    """A model whose passes take time by a clock of its own, and those who use it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.desk = Desk(self._passes)
        self.served: Counter[str] = Counter()  # steps by browser
        self.longest = 0  # ids of a pass
        self._held: list[KVSequence] = []

    def _passes(self, num_ids: int) -> None:
        self.clock.passes(num_ids)
        self.longest = max(self.longest, num_ids)

    def begin(self, *share: str, text: str = "x") -> KVSequence:
        sequence = self.desk.open(text, *share)
        self._held.append(sequence)  # the scheduler knows sequences by identity until they are dropped
        self.desk.ask(sequence)
        return sequence

    def step(self, sequences: list[KVSequence]) -> None:
        """A round, after which those who have been served ask again."""
        waiting = {id(command.sequence) for command in self.desk.scheduler._pending}
        for sequence in sequences:
            if id(sequence) not in waiting:
                self.served[sequence.share[1]] += 1
                self.desk.ask(sequence, [7])
        self.desk.scheduler.advance()

    def rest_until(self, asked: list[Future[ReadResult]]) -> None:
        """Nothing can be computed now; all is as time passes."""
        assert self.desk.scheduler.idle_s() > 0
        while not all(future.done() for future in asked):
            self.clock.now_s += ID_S
            self.desk.scheduler.advance()


@pytest.fixture
def town(clock: Clock) -> Town:
    return Town(clock)


def rounds(town: Town, sequences: list[KVSequence], number: int) -> Counter[str]:
    for _ in range(3):
        town.step(sequences)
    town.served.clear()
    for _ in range(number):
        town.step(sequences)
    return town.served


@pytest.mark.parametrize("num_hostile", [2, 12])
def test_an_address_with_many_browsers_gets_what_one_gets(town: Town, num_hostile: int) -> None:
    hostile = [town.begin(MILL, f"m{number}") for number in range(num_hostile) for _ in range(2)]
    honest = [town.begin(*HOME) for _ in range(2)]
    served = rounds(town, [*hostile, *honest], 60)
    assert served["ann"] == 120, "a step of each in every round"
    of_mill = [served[f"m{number}"] for number in range(num_hostile)]
    assert sum(of_mill) == 120
    assert max(of_mill) - min(of_mill) <= 2, "equal parts for its browsers"


def test_a_browser_with_many_runs_gets_what_its_neighbour_gets(town: Town) -> None:
    greedy = [town.begin(MILL, "greedy") for _ in range(9)]
    modest = town.begin(MILL, "modest")
    honest = town.begin(*HOME)
    served = rounds(town, [*greedy, modest, honest], 60)
    assert served["ann"] == 60
    assert abs(served["greedy"] - served["modest"]) <= 1


def test_long_prompts_of_one_address_take_half_the_time(town: Town) -> None:
    prompts = [town.begin(MILL, f"m{number}", text=LONG * 3) for number in range(12)]
    honest = town.begin(*HOME)
    began_s = town.clock.now_s
    for _ in range(100):
        town.step([honest])
    assert any(prompt.ids for prompt in prompts)
    assert town.clock.now_s - began_s <= 2.3 * 100 * ID_S


def test_a_resting_prompt_goes_on_when_its_neighbours_leave(town: Town) -> None:
    prompt, honest = town.desk.open(LONG, MILL, "m"), town.begin(*HOME)
    asked = town.desk.ask(prompt)
    town.desk.scheduler.advance()
    assert 0 < town.desk.scheduler.idle_s() <= 4.1 * ID_S
    town.desk.scheduler.free(honest)
    assert town.desk.scheduler.idle_s() == 0
    town.desk.run()
    assert asked.done()


def test_an_address_rests_though_its_session_ends(town: Town) -> None:
    prompt, _ = town.begin(MILL, "m", text=LONG), town.begin(*HOME)
    town.desk.scheduler.advance()
    town.desk.scheduler.free(prompt)
    town.begin(MILL, "n", text=LONG)
    assert town.desk.scheduler.idle_s() > 0


@pytest.mark.parametrize("share", [(MILL, "m"), BACKGROUND])
def test_texts_to_score_take_half_the_time_at_most(town: Town, share: Share) -> None:
    """They come as reads of many ids with as many distributions, one after the other, of several sequences."""
    texts = [town.begin(*share) for _ in range(16)]
    honest = town.begin(*HOME)
    began_s = town.clock.now_s
    for _ in range(600):
        town.step([honest])
        waiting = {id(command.sequence) for command in town.desk.scheduler._pending}
        for text in texts:
            if id(text) not in waiting and text.ids:
                town.desk.ask(text, [7] * 32, 32)
    assert sum(len(text.ids) - 1 for text in texts) >= 32, "but they are read"
    assert town.clock.now_s - began_s < 2.5 * 600 * ID_S


@pytest.mark.parametrize("is_background", [False, True])
def test_a_long_prompt_gives_way_in_short_chunks(town: Town, *, is_background: bool) -> None:
    town.desk.model.chunk_size = 128
    town.desk.model.max_batched_ids = 1
    town.begin(MILL, "m", text=LONG * 9)
    town.desk.run()  # now it is known how long an id takes
    honest = town.begin(*HOME)
    town.step([honest])
    town.longest = 0
    prompt = town.desk.open(LONG * 9, MILL, "m")
    asked = town.desk.ask(prompt, is_background=is_background)
    while not asked.done():
        town.step([honest])
        town.clock.now_s += 1
    assert town.longest <= 32, "and not 128"


def test_of_a_slow_model_nobody_waits_for_a_whole_chunk(town: Town) -> None:
    town.desk.model.chunk_size = 256
    first, second = town.desk.open(LONG * 9, MILL, "m"), town.desk.open(LONG * 9, MILL, "n")
    town.desk.ask(first)
    town.desk.run()
    town.longest = 0
    town.desk.ask(second)
    town.desk.run()
    assert town.longest == fair_queue.CHUNK[1], "ids, though nobody else is there"


def read_of(*share: str) -> ReadCommand:
    return ReadCommand(ForwardRequest(KVSequence(0, share=share), (1,)), Future())


def test_nothing_is_kept_of_who_has_left(clock: Clock) -> None:
    queue = FairQueue(clock.monotonic)
    reads = [read_of(f"mill {number}") for number in range(3)]
    for read in reads:
        for _ in range(2):
            queue.add(read)
        queue.account([read], 1.0, is_long=True)
    clock.now_s += 2.0
    for read in [*reads, *reads]:
        queue.leave(read.sequence)
    assert not any((queue.present, queue._had_s, queue._rests_until))
    assert queue.is_free_for(reads[0].sequence)


def test_newcomers_start_level_with_their_neighbours() -> None:
    """Though each sequence has had less than its browser and its address."""
    queue = FairQueue(Clock().monotonic)
    *old, browser, address = reads = [read_of(*share) for share in [(MILL, "old")] * 2 + [(MILL, "new"), HOME]]
    for read in old:
        queue.add(read)
    queue.account(old, 5.0)
    for read in (browser, address):
        queue.add(read)
    assert queue.in_order(reads) == reads
    queue.account(old, 0.1)
    assert queue.in_order(reads) == [address, browser, *old]


def test_a_pass_is_shared_and_a_newcomer_has_the_least() -> None:
    queue = FairQueue(Clock().monotonic)
    one, two, three, new = map(read_of, ("1", "2", "3", "new"))
    for read in (one, two, three):
        queue.add(read)
    queue.account([one, two], 2.0)
    queue.account([three], 1.5)
    assert queue.in_order([three, one, two]) == [one, two, three]
    queue.add(new)
    queue.account([one, two], 0.5)
    assert queue.in_order([three, two, one, new]) == [new, two, one, three]


def test_who_has_waited_long_is_still_counted(town: Town) -> None:
    """A pass may take longer than a sequence counts as present after its last read."""
    for share in (HOME, *[(MILL, f"m{number}") for number in range(4)]):
        town.begin(*share)
    town.clock.now_s += PRESENT_S + 1
    town.desk.scheduler.advance()
    assert town.desk.model.batches == [2], "one of each address"


def test_who_reads_nothing_for_a_while_holds_nobody_back(town: Town) -> None:
    """Such as a run whose rule sleeps."""
    town.begin(*HOME)
    town.desk.scheduler.advance()
    study = town.desk.ask(town.desk.open(LONG), is_background=True)
    prompt = town.desk.ask(town.desk.open(LONG, MILL, "m"))
    for asked in (prompt, study):
        town.clock.now_s += PRESENT_S + 1
        while not asked.done():
            assert town.desk.scheduler.idle_s() == 0
            town.desk.scheduler.advance()


def test_who_waits_for_a_resting_prompt_of_its_own_rests(town: Town) -> None:
    """Or the worker would go round and round without reading anything."""
    prompts = [KVSequence(NO_SLOT, tuple(town.desk.model.encode_raw(LONG)), namespace="talk") for _ in range(2)]
    for prompt in prompts:
        prompt.share = (MILL, "m")
    asked = [town.desk.ask(prompt) for prompt in prompts]
    town.begin(*HOME)
    town.desk.scheduler.advance()
    town.rest_until(asked)


def test_who_waits_for_an_earlier_read_of_its_own_rests(town: Town) -> None:
    """Likewise: the rest of a prompt rests, and what follows it is short."""
    prompt = town.desk.open(LONG, MILL, "m")
    asked = [town.desk.ask(prompt)]
    town.begin(*HOME)
    while len(prompt.prompt) - len(prompt.ids) > 4:
        town.clock.now_s += ID_S
        town.desk.scheduler.advance()
    asked.append(town.desk.ask(prompt, [7]))
    town.rest_until(asked)


def test_what_an_awaited_read_waits_for_is_awaited_too(town: Town) -> None:
    """A prompt that is read along goes on between others' prompts once an answer needs it to continue from."""
    ids = tuple(town.desk.model.encode_raw(LONG))
    along, needed = (KVSequence(NO_SLOT, ids, share=HOME, namespace="talk") for _ in range(2))
    along.is_awaited = False
    town.desk.ask(along)
    town.desk.scheduler.advance()
    others = town.desk.ask(town.desk.open(LONG * 3, *HOME))
    asked = town.desk.ask(needed)
    while not asked.done():
        town.desk.scheduler.advance()
    assert not others.done()


def test_a_prompt_read_along_waits_for_awaited_steps(town: Town) -> None:
    along = town.desk.open(LONG, *HOME)
    along.is_awaited = False
    town.desk.ask(along)
    town.desk.scheduler.advance()
    num_ids = [len(along.ids)]
    honest = town.begin(*HOME)
    for _ in range(5):
        town.step([honest])
        num_ids.append(len(along.ids))
    town.desk.scheduler.advance()  # now nobody waits
    num_ids.append(len(along.ids))
    along.is_awaited = True
    town.step([honest])
    assert num_ids == [4] * 6 + [8]
    assert len(along.ids) == 12
