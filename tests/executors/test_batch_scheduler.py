"""Which reads share a pass: no next token waits for somebody else's long prompt, and nothing is lost on the way."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from gac_app.decoding.distribution.read_result import ReadResult
from gac_app.decoding.member import InlineMember
from gac_app.errors import MemberError
from gac_app.executors.batch_scheduler import MAX_WAIT_S
from gac_app.executors.fair_queue import ReadCommand
from gac_app.models.sequence import LOCAL
from gac_app.vocab.mapping import VocabMapping
from tests.executors.conftest import Clock
from tests.executors.desk import LONG, Desk
from tests.fakes import FakeModel, after, mapping_of, probs_of


def alone(text: str, num_logits: int = 1) -> ReadResult:
    model = FakeModel()
    member = InlineMember(model, mapping_of(model))
    return member.read(after(member.open(member.encode(text), LOCAL), num_logits=num_logits)).result()


def test_a_long_read_leaves_room_for_short_ones() -> None:
    desk = Desk()
    long = desk.ask(desk.open(LONG), num_logits=3)
    desk.scheduler.advance()
    short = desk.ask(desk.open("short"))
    desk.scheduler.advance()
    assert short.done()
    assert not long.done()
    desk.run()
    expected = alone(LONG, 3)
    assert probs_of(long.result()).equal(probs_of(expected))
    assert long.result().num_read == expected.num_read


def test_several_long_reads_take_turns(clock: Clock) -> None:
    """By the time that each has had: here, of passes that take as long as they have ids."""
    desk = Desk(clock.passes)
    longest, shorter = desk.ask(desk.open(LONG * 4)), desk.ask(desk.open(LONG))
    while not shorter.done():
        desk.scheduler.advance()
    assert not longest.done()
    desk.run()
    assert probs_of(longest.result()).equal(probs_of(alone(LONG * 4)))


def test_a_read_called_off_needs_no_refusal() -> None:
    desk = Desk()
    sequence = desk.open("one")
    first, other = desk.ask(sequence), desk.ask(sequence)
    assert first.cancel()
    desk.scheduler._refuse(list(desk.scheduler._pending))
    assert desk.scheduler.is_idle
    with pytest.raises(MemberError, match="a: the sequence was freed"):
        other.result()


def test_each_is_told_before_the_next_distribution_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    desk.model.chunk_size = 100
    told: list[int] = []
    asked = [desk.ask(desk.open(text)) for text in ("one", "two", "three")]
    real = VocabMapping.project
    monkeypatch.setattr(VocabMapping, "project", lambda *args: told.append(sum(map(Future.done, asked))) or real(*args))
    desk.run()
    assert desk.model.batches == [3]
    assert told == [0, 1, 2]


@pytest.mark.parametrize("together_s", [6.0, 12.0])  # where it gains nothing, no pass waits
def test_a_pass_waits_as_long_as_sharing_it_gains(together_s: float) -> None:
    desk = Desk()
    desk.model.chunk_size = 100
    sequences = [desk.open(text) for text in ("one", "two", "three")]
    desk.read_together(sequences, {1: 4.0, 2: 5.0, 3: together_s})
    assert desk.scheduler.max_wait_s() == 0, "nobody has asked"
    desk.ask(sequences[0], [65])
    assert desk.scheduler.max_wait_s() == max(0, 0.5 * (4 + 5 - together_s))
    desk.ask(sequences[1], [65])
    assert desk.scheduler.max_wait_s() == max(0, 0.5 * (5 + 4 - together_s))
    desk.ask(sequences[2], [65])
    assert desk.scheduler.max_wait_s() == 0, "all that are expected are there"


def test_nobody_waits_for_who_came_back_too_late(clock: Clock) -> None:
    """Such as a member that the gate rarely asks."""
    desk = Desk()
    often, rarely = desk.open("often"), desk.open("rarely")
    desk.read_together([often, rarely], {1: 4.0, 2: 5.0})
    clock.now_s += MAX_WAIT_S / 2
    desk.ask(often, [65])
    assert desk.scheduler.max_wait_s() > 0
    clock.now_s += MAX_WAIT_S
    desk.ask(rarely, [65])
    desk.run()
    desk.ask(often, [65])
    assert desk.scheduler.max_wait_s() == 0


def test_a_model_is_free_for_its_only_sequence_in_use() -> None:
    desk = Desk()
    one, other, studied = (desk.open(text) for text in ("one", "other", "study"))
    assert desk.scheduler.is_free_for(one)
    desk.ask(one)
    desk.ask(studied, is_background=True)
    assert desk.scheduler.is_free_for(one), "a study gives way"
    desk.ask(other)
    desk.run()
    assert not desk.scheduler.is_free_for(one), "its next read may come at any time"
    desk.scheduler.free(other)
    assert desk.scheduler.is_free_for(one)
    assert not desk.scheduler.is_free_for(other)


def test_reads_of_a_sequence_never_share_a_pass() -> None:
    desk = Desk()
    sequence = desk.open("one")
    first, second = desk.ask(sequence), desk.ask(sequence, [65])
    desk.run()
    assert probs_of(first.result(0)).equal(probs_of(alone("one")))
    assert probs_of(second.result(0)).equal(probs_of(alone("oneA")))
    assert desk.model.batches == [1, 1]


def test_nobody_waits_for_those_that_read_along() -> None:
    desk = Desk()
    one, along = desk.open("one"), desk.open("along")
    desk.read_together([one, along], {1: 1.0, 2: 1.2})
    along.is_awaited = False
    desk.ask(along, [7])
    assert desk.scheduler.max_wait_s() == 0, "nor do they"
    desk.ask(one, [7])
    desk.run()
    desk.ask(one, [7])
    assert desk.scheduler.max_wait_s() == 0


@pytest.mark.parametrize("is_awaited", [True, False])
def test_a_prompt_read_along_ends_no_wait_for_a_batch(*, is_awaited: bool) -> None:
    desk = Desk()
    one, other, prompt = desk.open("one"), desk.open("other"), desk.open(LONG)
    desk.read_together([one, other], {1: 1.0, 2: 1.2})
    prompt.is_awaited = is_awaited
    desk.ask(prompt)
    desk.scheduler.advance()
    assert prompt.ids
    desk.ask(one, [7])
    desk.ask(other, [7])
    desk.scheduler.advance()
    desk.ask(one, [7])
    assert (desk.scheduler.max_wait_s() == 0) == is_awaited


def test_who_asks_during_a_long_pass_is_not_late(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or answers that once missed a round would go on in two halves, each with passes of its own."""
    desk = Desk()
    one, other = desk.open("one"), desk.open("other")
    monkeypatch.setattr(desk.model.costs, "gain", lambda *_: 1.0)
    desk.read_together([one, other], {})
    command = ReadCommand(after(other, [65]), Future())  # put while a pass computes, and taken after it
    clock.now_s += 2 * MAX_WAIT_S
    desk.scheduler.add(command)
    desk.run()
    desk.ask(one, [65])
    assert desk.scheduler.max_wait_s() > 0
