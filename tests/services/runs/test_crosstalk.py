"""Visitors at once share forward passes, and nothing else."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from gac_app.services.runs.runs import LiveRun, RunService
from gac_app.services.runs.views import ENSEMBLE, member_stream
from gac_app.services.visitors import owner_of
from tests.fakes import WAIT_S
from tests.services.house import ALICE, BOB, SHORT, House, answer, ended, fake_models, listed, slow_models, texts, until

SAMPLED = {**SHORT, "temperature": 0.8}


@pytest.mark.slow
def test_ten_visitors_at_once_get_what_each_would_get_alone(house: House) -> None:
    models = slow_models()
    service = house.service(models, server={"max_running": 6, "max_waiting": 10})
    keys = [f"{number:064}" for number in range(10)]
    barrier = threading.Barrier(len(keys))

    def visit(key: str) -> LiveRun:
        barrier.wait(WAIT_S)
        return ended(service.start(key, f"My marker is {key[-2:]}", SAMPLED))

    with ThreadPoolExecutor(len(keys)) as pool:
        runs = list(pool.map(visit, keys))
    assert max(models[0].batches) > 1, "some passes were shared"
    alone = house.service(fake_models())
    answers = set()
    for key, run in zip(keys, runs, strict=True):
        expected = ended(alone.start(key, f"My marker is {key[-2:]}", SAMPLED))
        assert texts(run) == texts(expected)
        assert {stream.messages for stream in run.streams.values()} == {expected.streams["ensemble"].messages}
        assert [line.run_id for line in listed(service, key, search="marker")][-1] == run.id
        assert [step.position for step in run.streams["ensemble"].steps] == list(range(10))
        answers.add(texts(run)["ensemble"])
    assert len(answers) == len(keys), "a marker each, an answer each"


PROMPT = "Name three colours that a model would vote for"


def reads_of(run: LiveRun, member: str) -> int:
    """Ids that a member read in all streams of a run."""
    ends = [stream.finished for stream in run.streams.values()]
    return sum(end.members[member].num_tokens_read for end in ends if end and member in end.members)


def prompt_ids(service: RunService, run: LiveRun, member: str, key: str) -> list[int]:
    return service.members.ensemble().members[member].encode(list(run.streams[key].messages))


def owners_kept(service: RunService) -> set[str]:
    """Whose text members still hold, no run of theirs going on."""
    kept = [member._scheduler.prefix_cache._kept for member in service.members.ensemble().members.values()]  # type: ignore[attr-defined]
    return {sequence.namespace.split("/")[0] for sequences in kept for sequence in list(sequences)}


def test_a_prompt_is_read_once_by_each_member(service: RunService) -> None:
    run = answer(service, PROMPT, mode="every-step", alignment="paper")
    for member in ("a", "b"):
        num_prompt = len(prompt_ids(service, run, member, ENSEMBLE))
        fed = [len(run.streams[key].steps) - 1 for key in (ENSEMBLE, member_stream(member))]
        assert num_prompt + sum(fed) <= reads_of(run, member) < 2 * num_prompt  # a token may be spelt in several ids


def test_a_turn_reads_only_what_is_new_to_it(service: RunService) -> None:
    first = answer(service, PROMPT)
    second = ended(service.start(ALICE, "More?", {"max_new_tokens": 1}, first.conversation_id))
    key = member_stream("a")
    num_new = len(prompt_ids(service, second, "a", key)) - len(prompt_ids(service, first, "a", key))
    assert second.streams[key].finished.members["a"].num_tokens_read <= num_new


def test_visitors_share_nothing(service: RunService) -> None:
    answer(service, PROMPT)
    other = ended(service.start(BOB, PROMPT, {"max_new_tokens": 1}))
    assert reads_of(other, "a") >= len(prompt_ids(service, other, "a", ENSEMBLE))


@pytest.mark.parametrize("is_whole_visitor", [False, True])
def test_deleting_drops_what_was_kept(house: House, is_whole_visitor: bool) -> None:
    models = fake_models()
    service = house.service(models)
    mine = answer(service, PROMPT)
    ended(service.start(BOB, PROMPT, {"max_new_tokens": 3}))
    until(lambda: owners_kept(service) == {owner_of(ALICE), owner_of(BOB)})
    if is_whole_visitor:
        service.history.delete_all(ALICE)
    else:
        service.history.delete_runs(ALICE, [mine.id])
    until(lambda: owners_kept(service) == {owner_of(BOB)}, "for the deleted run's sequences to be freed")
    service.history.delete_all(BOB)
    until(lambda: [model.num_held for model in models] == [0, 0])
