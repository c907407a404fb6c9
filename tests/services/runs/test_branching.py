"""Branching: the prefix is replayed, one token is taken, and decoding goes on as if it had always been so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gac_app.decoding.loop import Branch
from gac_app.decoding.trace.events import FinishReason
from gac_app.errors import RequestError
from gac_app.models.random_model import make_vocabulary
from gac_app.services.runs.live_run import LiveStream
from gac_app.services.runs.runs import LiveRun, RunService
from tests.fakes import FakeModel, FixedModel
from tests.services.house import ALICE, LONG, House, answer, begun, end_of, ended, essence, texts

POSITION = 4


def alternative(run: LiveRun, position: int = POSITION) -> tuple[int, bytes]:
    """The token that came second at a step."""
    step = run.streams["ensemble"].steps[position]
    other = next(candidate for candidate in step.top if candidate.token_id != step.token_id)
    return other.token_id, other.token


def test_every_stream_replays_and_takes_the_alternative(house: House) -> None:
    service = house.service()
    parent = answer(service)
    token_id, token = alternative(parent)
    prefix = parent.streams["ensemble"].steps[:POSITION]
    branched = ended(service.branch(ALICE, parent.id, POSITION, token_id))
    assert (branched.parent_run_id, branched.branch_position) == (parent.id, POSITION)
    assert branched.swap == (parent.streams["ensemble"].steps[POSITION].token, token)
    assert service.history.find(ALICE, branched.id).swap == branched.swap
    assert (branched.prompt, branched.settings) == (parent.prompt, parent.settings)
    assert branched.conversation_id == parent.conversation_id
    assert list(branched.streams) == list(parent.streams)
    for stream in branched.streams.values():
        assert [step.token for step in stream.steps[: POSITION + 1]] == [*(step.token for step in prefix), token]
        assert [step.is_forced for step in stream.steps] == [True] * (POSITION + 1) + [False] * (9 - POSITION)
        assert [step.position for step in stream.steps] == list(range(10))
        assert stream.text.startswith(b"".join(step.token for step in prefix).decode())
    again = branched.streams["ensemble"].steps
    assert [essence(step) for step in again[:POSITION]] == [essence(step) for step in prefix]
    service.close()
    of_stored = ended(house.service().branch(ALICE, parent.id, POSITION, token_id))
    assert texts(of_stored) == texts(branched)


def test_the_alternative_may_be_the_end(house: House) -> None:
    service = house.service([FixedModel("a", {b" the": 0.6, b"": 0.4}), FixedModel("b", {b" the": 0.7, b"": 0.3})])
    parent = answer(service)
    end_id, end = alternative(parent)
    assert end == b""
    branched = ended(service.branch(ALICE, parent.id, POSITION, end_id))
    for stream in branched.streams.values():
        assert (end_of(stream).reason, stream.text) == (FinishReason.STOP, " the" * POSITION)
        assert end_of(stream).num_tokens == POSITION + 1


def test_a_run_may_be_branched_while_it_decodes(house: House) -> None:
    service = house.service([FakeModel("a", 1, delay_s=0.002), FakeModel("b", 2)])
    parent = begun(service.start(ALICE, "Go on", LONG), num_steps=POSITION + 2)
    token_id, token = alternative(parent)
    branched = begun(service.branch(ALICE, parent.id, POSITION, token_id), num_steps=POSITION + 2)
    assert not parent.over.is_set()
    assert branched.streams["ensemble"].steps[POSITION].token == token


def test_an_answer_with_unknown_tokens_is_not_branched(house: House) -> None:
    other = FakeModel("a", 3)
    words = set(make_vocabulary(0).token_bytes) - set(other.vocabulary.token_bytes)
    lacked = min(word for word in words if word)
    first = house.service([FixedModel("a", {lacked: 0.6, b"x": 0.4})])
    parent = answer(first)
    first.close()
    with pytest.raises(RequestError, match="members do not know"):
        house.service([other]).branch(ALICE, parent.id, POSITION, alternative(parent)[0])


@pytest.mark.parametrize("key", ["member:b", "ensemble"])
def test_an_answer_of_a_branch_anew_stays_in_the_branch(house: House, key: str) -> None:
    service = house.service()
    parent = answer(service, temperature=1.5, seed=3)
    branched = ended(service.branch(ALICE, parent.id, POSITION, alternative(parent)[0]))
    anew = ended(service.regenerate(ALICE, branched.id, key))
    longer = ended(service.extend(ALICE, anew.id))
    prefix = [step.token for step in branched.streams[key].steps[: POSITION + 1]]
    for run in (anew, longer, house.service().history.find(ALICE, longer.id)):
        assert (run.branch_position, run.swap) == (POSITION, branched.swap)
        assert [step.token for step in run.streams[key].steps[: POSITION + 1]] == prefix
    assert {name for name in anew.streams if anew.streams[name].text != branched.streams[name].text} == {key}
    assert [step.is_forced for step in anew.streams[key].steps] == [True] * (POSITION + 1) + [False] * (9 - POSITION)


def test_a_branch_stopped_before_its_token_takes_it_later(service: RunService) -> None:
    """What is stopped while it is replayed has decoded nothing, and has no digest."""
    parent = answer(service)
    branched = ended(service.branch(ALICE, parent.id, POSITION, alternative(parent)[0]))
    whole = texts(branched)
    for stream in branched.streams.values():
        begun_again = LiveStream.begun(stream.name, Branch(tuple(stream.steps[:POSITION])))
        begun_again.take(replace(end_of(stream), reason=FinishReason.ABORT, num_tokens=1, num_replayed=1))
        stream.events = begun_again.events
        stopped = end_of(stream)
        assert (stopped.num_tokens, stopped.num_decoded, stopped.digest) == (POSITION, 0, "")
    for run in (service.extend(ALICE, branched.id), service.regenerate(ALICE, branched.id, "ensemble")):
        assert texts(ended(run))["ensemble"] == whole["ensemble"]
