"""A conversation's answers read in common what they can, say what they would say anyway, and share with nobody else."""

from __future__ import annotations

import pytest

from gac_app.services.runs.runs import LiveRun, RunService
from gac_app.services.runs.views import ENSEMBLE, member_stream
from gac_app.services.visitors import owner_of
from tests.services.house import ALICE, BOB, House, answer, ended, fake_models, until

PROMPT = "Name three colours that a model would vote for"


def reads_of(run: LiveRun, member: str) -> int:
    """Ids that a member read in all streams of a run."""
    ends = [stream.finished for stream in run.streams.values()]
    return sum(end.members[member].num_tokens_read for end in ends if end and member in end.members)


def prompt_ids(service: RunService, run: LiveRun, member: str, key: str) -> list[int]:
    ensemble = service.members.ensemble()
    return ensemble.members[member].encode(list(run.streams[key].messages))


def owners_kept(service: RunService) -> set[str]:
    """Whose text members still hold, no run of theirs going on."""
    kept = [member._scheduler.prefix_cache._kept for member in service.members.ensemble().members.values()]  # type: ignore[attr-defined]
    return {sequence.namespace.split("/")[0] for sequences in kept for sequence in list(sequences)}


def test_a_prompt_is_read_once_by_each_member(house: House) -> None:
    service = house.service()
    run = answer(service, PROMPT, mode="every-step", alignment="paper")
    for member in ("a", "b"):
        num_prompt = len(prompt_ids(service, run, member, ENSEMBLE))
        fed = [len(run.streams[key].steps) - 1 for key in (ENSEMBLE, member_stream(member))]
        assert num_prompt + sum(fed) <= reads_of(run, member) < 2 * num_prompt  # a token may be spelt in several ids


def test_a_turn_reads_only_what_is_new_to_it(house: House) -> None:
    service = house.service()
    first = answer(service, PROMPT)
    second = ended(service.start(ALICE, "More?", {"max_new_tokens": 1}, first.conversation_id))
    key = member_stream("a")
    num_new = len(prompt_ids(service, second, "a", key)) - len(prompt_ids(service, first, "a", key))
    end = second.streams[key].finished
    assert end is not None
    assert end.members["a"].num_tokens_read <= num_new


def test_visitors_share_nothing(house: House) -> None:
    service = house.service()
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
        service.history.delete_run(ALICE, mine.id)
    until(lambda: owners_kept(service) == {owner_of(BOB)}, "for the deleted run's sequences to be freed")
    service.history.delete_all(BOB)
    until(lambda: [model.num_held for model in models] == [0, 0])
