"""Neither side's speed can be told from what is shown."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gac_app.arena.pacing import MIN_RATE, Pace, Progress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def watched(rates: tuple[float, float], lengths: tuple[int, int], ttfts: tuple[float, float]) -> list[tuple[int, int]]:
    """What is shown of both sides, looked at ten times a second for two minutes."""
    clock = Clock()
    pace = Pace(clock)
    shown = []
    for tick in range(1200):
        clock.now = 100.0 + tick / 10
        sides = []
        for rate, length, ttft in zip(rates, lengths, ttfts, strict=True):
            num = min(length, int(max(0.0, tick / 10 - ttft) * rate))
            sides.append(Progress(num, num == length))
        most = pace.advance(sides)
        shown.append((min(most, sides[0].num_chars), min(most, sides[1].num_chars)))
    return shown


def test_both_begin_together_and_show_as_much() -> None:
    shown = watched((200, 40), (2000, 2000), (0.2, 3.0))
    assert all(left == right for left, right in shown)
    assert shown[29] == (0, 0)
    assert shown[100][0] > 200


def test_a_fast_answer_stays_slow_after_the_other_ends() -> None:
    shown = watched((500, 50), (3000, 400), (0.2, 0.2))
    steps = [after[0] - before[0] for before, after in pairwise(shown)]
    before_the_end = [step for (_, right), step in zip(shown, steps, strict=False) if 200 < right < 400]
    after_the_end = [step for (left, right), step in zip(shown, steps, strict=False) if right == 400 and left < 2900]
    assert max(after_the_end) <= max(before_the_end) + 1
    assert shown[-1] == (3000, 400)


def test_the_slow_side_is_not_shown_in_its_own_steps() -> None:
    """A slow model gives 25 characters a time, once every half second; what is shown grows evenly."""
    clock = Clock()
    pace = Pace(clock)
    shown = []
    for tick in range(200):
        clock.now = 100.0 + tick / 10
        shown.append(pace.advance([Progress(25 * (1 + tick // 5), False), Progress(2000, True)]))
    steps = [after - before for before, after in pairwise(shown[100:])]
    assert max(steps) <= 10


def test_two_short_answers_are_not_drawn_out() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.advance([Progress(3, True), Progress(300, True)])
    clock.now += 300 / MIN_RATE
    assert pace.advance([Progress(3, True), Progress(300, True)]) == 300


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(0, 50), st.integers(0, 50)), max_size=40))
def test_what_is_shown_only_grows_and_never_runs_ahead(ticks: list[tuple[float, int, int]]) -> None:
    clock = Clock()
    pace = Pace(clock)
    nums = [0, 0]
    last = 0
    for seconds, left, right in ticks:
        clock.now += seconds
        nums = [nums[0] + left, nums[1] + right]
        shown = pace.advance([Progress(num, False) for num in nums])
        assert last <= shown <= min(nums)
        last = shown
