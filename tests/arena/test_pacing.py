"""Neither a side's speed nor a pair's can be told from what is shown."""

from __future__ import annotations

from itertools import groupby, pairwise, permutations
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac_app.arena.pacing import LEAD_S, MIN_RATE, PAUSE_S, Pace, SideProgress, Tempo
from tests.clocks import HandClock

# Characters per second, and seconds to the first: ten times apart.
SPEEDS = {"fast": (500.0, 0.2), "quick": (200.0, 0.4), "slow": (60.0, 1.5), "slower": (50.0, 2.0)}
QUIET = [(name, 1_000, 1_000 / rate, start_s, 0) for name, (rate, start_s) in SPEEDS.items()]


class Answer(NamedTuple):
    """An answer: characters per second, seconds to the first, characters, and when it stalls for how long."""

    rate: float
    start_s: float
    length: int
    stall_at: float = 0.0
    stall_s: float = 0.0

    def num_there(self, now: float) -> int:
        stalled_s = min(self.stall_s, max(0.0, now - self.stall_at))
        return min(self.length, int(max(0.0, now - stalled_s - self.start_s) * self.rate))


def tempo_of(*answers: tuple[str, int, float, float, int]) -> Tempo:
    tempo = Tempo(SPEEDS)
    for answer in answers:
        tempo.note(*answer)
    return tempo


def watched(tempo: Tempo, *sides: Answer) -> list[tuple[int, int]]:
    """What is shown of both sides, looked at ten times a second."""
    clock = HandClock()
    pace = Pace(tempo, clock=clock)
    shown = []
    for tick in range(1_000):
        clock.now = tick / 10
        there = [side.num_there(clock.now) for side in sides]
        most = pace.advance([SideProgress(num, num == side.length) for num, side in zip(there, sides, strict=True)])
        shown.append((min(most, there[0]), min(most, there[1])))
        if shown[-1] == tuple(side.length for side in sides):
            break
    return shown


def test_every_pair_is_shown_alike_and_evenly() -> None:
    """Also a finished answer beside one that goes on."""
    tempo = tempo_of(*QUIET)
    pairs = permutations(SPEEDS.values(), 2)
    shown = [watched(tempo, Answer(*one, 1_500), Answer(*two, 300)) for one, two in pairs]
    assert shown[1:] == shown[:-1]
    assert shown[0][-1] == (1_500, 300)
    begun = int(10 * tempo.start_s(0))
    assert (shown[0][begun - 1], shown[0][begun + 1][0] > 0) == ((0, 0), True)
    assert {after[0] - before[0] for before, after in pairwise(shown[0][begun + 1 : -1])} <= {3, 4, 5}


@pytest.mark.parametrize("late", [Answer(500, 20.0, 900), Answer(500, 0.2, 900, 0.5, 14.5)], ids=["begins", "stalls"])
def test_a_late_side_pauses_both_by_whole_pauses(late: Answer) -> None:
    shown = watched(tempo := tempo_of(*QUIET), late, Answer(500, 0.2, 900))
    assert all(left == right for left, right in shown)
    longest = max(len(list(same)) for _, same in groupby(shown)) / 10
    start_s = tempo.start_s(0) if late.start_s > 1 else 0.0
    assert longest > 4 * PAUSE_S
    assert (longest - start_s + 0.1) % PAUSE_S < 0.3


def test_after_a_pause_there_is_a_lead() -> None:
    shown = [num for num, _ in watched(Tempo(["a", "b"]), Answer(10, 0, 300), Answer(1e6, 0, 300))]
    paused_at = [num for num, same in groupby(shown) if len(list(same)) > 5]
    assert len(paused_at) > 3
    assert min(after - before for before, after in pairwise(paused_at)) >= LEAD_S * MIN_RATE


def test_two_short_answers_are_not_drawn_out() -> None:
    shown = watched(Tempo(["a", "b"]), Answer(1e6, 0, 3), Answer(1e6, 0, 300))
    assert len(shown) == pytest.approx(10 * (LEAD_S + 300 / MIN_RATE), abs=2)


def test_the_tempo_is_that_of_the_slowest_new_answer() -> None:
    tempo = Tempo(["a", "b"])
    tempo.note("a", 1000, 2.0, 0.1, 0)
    tempo.note("b", 39, 39.0, 5.0, 0)  # too little to tell
    assert (tempo.rate, tempo.start_s(0)) == pytest.approx((MIN_RATE, LEAD_S + 0.1))
    tempo.note("b", 100, 2.0, 0.5, 0)
    for _ in range(9):
        tempo.note("b", 200, 1.0, 0.3, 0)
        assert (tempo.rate, tempo.start_s(0), tempo.start_s(500)) == pytest.approx((40, LEAD_S + 0.5, LEAD_S + 1))
    tempo.note("b", 200, 1.0, 0.3, 0)
    assert (tempo.rate, tempo.start_s(0)) == pytest.approx((160, LEAD_S + 0.3))
    tempo.note("b", 50, 50.0, 60.0, 0)
    assert (tempo.rate, tempo.start_s(0)) == (8, LEAD_S + 10), "nobody waits longer"


def test_seconds_count_from_what_was_first_shown() -> None:
    clock = HandClock()
    pace = Pace(Tempo(["a", "b"]), clock=clock)
    left = [pace.seconds_to(60)]
    for now, num in ((0, 0), (5, 0), (7, 0), (7.5, 300), (9, 300)):
        clock.now = now
        pace.advance([SideProgress(num, False), SideProgress(300, False)])
        assert pace.has_begun is (now > 7)
        left.append(pace.seconds_to(60))
    clock.now = 10
    assert (pace.seconds, pace.num_shown, pace.seconds_to(180)) == (2.5, 60, 3)
    assert left == [3, 3, 2, 2, 1.5, 0]


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(0, 50), st.integers(0, 50)), max_size=40))
def test_what_is_shown_only_grows_and_never_runs_ahead(ticks: list[tuple[float, int, int]]) -> None:
    clock = HandClock()
    pace = Pace(tempo_of(), clock=clock)
    nums = [0, 0]
    last = 0
    for seconds, left, right in ticks:
        clock.now += seconds
        nums = [nums[0] + left, nums[1] + right]
        shown = pace.advance([SideProgress(num, False) for num in nums])
        assert last <= shown <= min(nums)
        last = shown
