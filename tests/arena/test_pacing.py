"""Neither a side's speed nor a pair's can be told from what is shown."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac_app.arena.pacing import MIN_RATE, Pace, SideProgress, Tempo
from tests.clocks import HandClock


def tempo_of(**known: tuple[float, float]) -> Tempo:
    """Of contestants, each with its characters per second and the seconds to its first."""
    tempo = Tempo(known)
    for name, (rate, start_s) in known.items():
        tempo.note(name, int(10 * rate), 10.0, start_s)
    return tempo


HOST = tempo_of(fast=(500, 0.2), quick=(200, 0.4), slow=(50, 1.0))


def watched(rates: tuple[float, float], lengths: tuple[int, int], ttfts: tuple[float, float]) -> list[tuple[int, int]]:
    """What is shown of both sides, looked at ten times a second for two minutes."""
    clock = HandClock()
    pace = Pace(HOST, clock)
    shown = []
    for tick in range(1200):
        clock.now = 100.0 + tick / 10
        sides = []
        for rate, length, ttft in zip(rates, lengths, ttfts, strict=True):
            num = min(length, int(max(0.0, tick / 10 - ttft) * rate))
            sides.append(SideProgress(num, num == length))
        most = pace.advance(sides)
        shown.append((min(most, sides[0].num_chars), min(most, sides[1].num_chars)))
    return shown


def test_both_begin_together_and_show_as_much() -> None:
    shown = watched((200, 50), (2000, 2000), (0.2, 3.0))
    assert all(left == right for left, right in shown)
    assert shown[29] == (0, 0)
    assert shown[100][0] > 200


def test_every_pair_is_shown_alike() -> None:
    lengths = (1500, 1500)
    pairs = [((500, 200), (0.2, 0.4)), ((200, 500), (0.4, 0.2)), ((500, 50), (0.2, 0.9)), ((50, 200), (0.9, 0.4))]
    shown = [watched(rates, lengths, ttfts) for rates, ttfts in pairs]
    assert shown[1:] == shown[:-1]
    assert shown[0][9] == (0, 0)
    assert shown[0][-1] == lengths


def test_a_finished_answer_goes_on_as_evenly() -> None:
    shown = watched((500, 50), (3000, 400), (0.2, 0.2))
    steps = [after[0] - before[0] for before, after in pairwise(shown[20:])]
    assert {step for step in steps[:700] if step} <= {3, 4, 5}, "40 characters a second, before and after"
    assert shown[-1] == (3000, 400)


def test_the_slow_side_is_not_shown_in_its_own_steps() -> None:
    """A slow model gives 25 characters a time, once every half second; what is shown grows evenly."""
    clock = HandClock()
    pace = Pace(HOST, clock)
    shown = []
    for tick in range(200):
        clock.now = 100.0 + tick / 10
        shown.append(pace.advance([SideProgress(25 * (1 + tick // 5), False), SideProgress(2000, True)]))
    steps = [after - before for before, after in pairwise(shown[20:])]
    assert max(steps) <= 5


def test_two_short_answers_are_not_drawn_out() -> None:
    clock = HandClock()
    pace = Pace(Tempo(["a", "b"]), clock)
    pace.advance([SideProgress(3, True), SideProgress(300, True)])
    clock.now += 300 / MIN_RATE
    assert pace.advance([SideProgress(3, True), SideProgress(300, True)]) == 300


def test_the_tempo_is_that_of_the_slowest_contestant() -> None:
    tempo = Tempo(["a", "b"])
    tempo.note("a", 1000, 2.0, 0.1)
    tempo.note("b", 39, 39.0, 5.0)  # too little to tell
    assert (tempo.rate, tempo.start_s) == (MIN_RATE, pytest.approx(0.1))
    tempo.note("b", 100, 1.0, 0.5)
    assert (tempo.rate, tempo.start_s) == pytest.approx((80.0, 0.5))
    tempo.note("b", 200, 1.0, 0.3)  # the newest counts three tenths
    assert (tempo.rate, tempo.start_s) == pytest.approx((0.8 * 130, 0.44))
    for _ in range(30):
        tempo.note("b", 200, 1.0, 0.3)
    assert (tempo.rate, tempo.start_s) == (pytest.approx(160, rel=0.01), pytest.approx(0.3, rel=0.01))


def test_seconds_count_from_what_was_first_shown() -> None:
    clock = HandClock()
    pace = Pace(Tempo(["a", "b"]), clock)
    pace.advance([SideProgress(0, False), SideProgress(300, False)])
    clock.now += 5
    assert pace.seconds == 0
    pace.advance([SideProgress(3, False), SideProgress(300, False)])
    assert pace.seconds == 0
    clock.now += 2
    assert pace.seconds == 2


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(0, 50), st.integers(0, 50)), max_size=40))
def test_what_is_shown_only_grows_and_never_runs_ahead(ticks: list[tuple[float, int, int]]) -> None:
    clock = HandClock()
    pace = Pace(tempo_of(), clock)
    nums = [0, 0]
    last = 0
    for seconds, left, right in ticks:
        clock.now += seconds
        nums = [nums[0] + left, nums[1] + right]
        shown = pace.advance([SideProgress(num, False) for num in nums])
        assert last <= shown <= min(nums)
        last = shown
