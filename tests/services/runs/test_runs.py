"""A run from its prompt to the history."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import patch

import pytest

from gac_app.config import MAX_PROMPT_CHARS
from gac_app.decoding.loop.text import TextStream
from gac_app.decoding.member import Member
from gac_app.decoding.trace.events import StepTrace, TokenEvent
from gac_app.decoding.trace.serialise import step_from_json, step_to_json
from gac_app.errors import RequestError
from gac_app.models.message import Message
from gac_app.services.runs.history import MAX_NAME_CHARS
from gac_app.services.runs.runs import RunService, config_hash_of
from gac_app.storage import HistoryFilter, RunStatus
from tests.fakes import WAIT_S, FakeModel, Fault, config_of
from tests.services.battles.test_arena import Arena
from tests.services.house import ALICE, BOB, LONG, SHORT, House, answer, begun, end_of, ended, essence, listed, until


def test_each_member_tokenises_a_prompt_once(arena: Arena) -> None:
    for ask in (lambda: answer(arena.runs), arena.answered):
        with patch.object(Member, "encode", autospec=True, side_effect=Member.encode) as encode:
            ask()
        assert sorted(call.args[0].name for call in encode.mock_calls) == ["a", "b"], "though several streams ask it"


def test_prompts_of_one_address_are_tokenised_one_by_one(arena: Arena) -> None:
    lock, have_met = threading.Lock(), threading.Event()
    now, most = Counter[str](), Counter[str]()
    encode = Member.encode

    def note(member: Member, prompt: list[Message]) -> list[int]:
        client = prompt[-1].content
        with lock:
            now[client] += 1
            most[client] = max(most[client], now[client])
        if len(now) == 2:
            have_met.set()
        assert have_met.wait(WAIT_S), "another address has to wait"
        with lock:
            now[client] -= 1
        return encode(member, prompt)

    with patch.object(Member, "encode", note), ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(arena.runs.start, key * 64, "one", SHORT, client="one") for key in "cde"]
        asked += [pool.submit(arena.service.start, key * 64, "one", client="one") for key in "fg"]
        asked += [pool.submit(arena.runs.start, BOB, "two", SHORT, client="two")]
    assert [one.exception() for one in asked] == [None] * 6
    assert most == {"one": 1, "two": 1}


def test_who_follows_is_told_of_every_change_until_they_leave(house: House) -> None:
    service = house.service([FakeModel("a", 1, delay_s=0.005), FakeModel("b", 2)])
    run = service.start(ALICE, "Name three colours", LONG)
    seen: list[int] = []
    with run.telling(lambda: seen.append(len(run.streams["ensemble"].events))):
        assert run.wait_for(lambda: len(run.streams["ensemble"].events) >= 5, WAIT_S)
    assert set(range(seen[0], 5)) <= set(seen), "none is left out"
    num_seen = len(seen)
    begun(run, 10)
    assert len(seen) <= num_seen + 3, "but for threads that were telling it as it left"
    service.stop(ALICE, run.id)
    assert ended(run).is_over_and_saved


def replayed(steps: Sequence[StepTrace]) -> list[str]:
    """The texts that stored steps show."""
    text, shown = TextStream(), list[str]()
    for step in steps:
        text.take(step.token, is_last=step is steps[-1])
        shown += [event.text for event in text.show(step)]
    return shown


def test_a_stored_run_is_found_whole_after_a_restart(house: House) -> None:
    first = house.service()
    run = answer(first, threshold=0.6, seed=7, max_new_tokens=40, temperature=1.5)
    first.stop(ALICE, run.id)  # it is over already
    assert run.status == RunStatus.FINISHED
    assert first.history.find(ALICE, run.id) is run
    first.close()
    second = house.service()
    found = second.history.find(ALICE, run.id)
    assert found is not run
    for name in ("id", "conversation_id", "prompt", "settings", "member_names", "status", "is_saved", "outcome"):
        assert getattr(found, name) == getattr(run, name), name
    assert list(found.streams) == list(run.streams)
    for key, stream in run.streams.items():
        kept = found.streams[key]
        assert (kept.name, kept.messages, kept.text) == (stream.name, stream.messages, stream.text)
        assert kept.steps == [step_from_json(step_to_json(step)) for step in stream.steps]
        assert replayed(kept.steps) == [event.text for event in stream.events if isinstance(event, TokenEvent)]
        assert end_of(kept).detail == end_of(stream).detail
        assert end_of(kept).members.keys() == end_of(stream).members.keys()
    [line] = listed(second, ALICE)
    ensemble = end_of(run.streams["ensemble"])
    assert (line.run_id, line.prompt, line.status) == (run.id, run.prompt, RunStatus.FINISHED)
    assert (line.num_tokens, line.num_ensembled) == (ensemble.num_tokens, ensemble.num_ensembled)
    step = run.streams["member:b"].steps[3]
    assert essence(second.history.steps(ALICE, run.id, "member:b", 3)[0][3]) == essence(step)
    with pytest.raises(RequestError, match="stream: expected one of ensemble, member:a, member:b"):
        second.history.steps(ALICE, run.id, "member:c", 3)
    row = second._store.load_run(ALICE, run.id)
    assert (row.config_hash, row.versions) == (first.config_hash, {"gac": "test"})


def test_follow_up_turns_carry_each_stream_s_own_answers(house: House) -> None:
    service = house.service()
    briefly = {**SHORT, "system_prompt": "Be short."}
    first = answer(service, "First?", system_prompt="Be verbose.")  # the next turn's settings count
    second = ended(service.start(ALICE, "Second?", briefly, first.conversation_id))
    service.close()
    service = house.service()  # and it goes on after a restart
    third = ended(service.start(ALICE, "Third?", briefly, first.conversation_id))
    for key in third.streams:
        assert third.streams[key].messages == (
            Message("system", "Be short."),
            Message("user", "First?"),
            Message("assistant", first.streams[key].text),
            Message("user", "Second?"),
            Message("assistant", second.streams[key].text),
            Message("user", "Third?"),
        )
    runs = service.history.conversation(ALICE, first.conversation_id)
    assert [run.id for run in runs] == [first.id, second.id, third.id]


def test_a_member_switched_off_can_join_again(service: RunService) -> None:
    without = {**SHORT, "members": ("a",), "gate": "a"}
    first = ended(service.start(ALICE, "First?", without))
    assert list(first.streams) == ["ensemble", "member:a"]
    assert (first.member_names, first.streams["ensemble"].finished.num_ensembled) == (("a", "b"), 0)
    assert first.streams["ensemble"].text == first.streams["member:a"].text
    second = ended(service.start(ALICE, "Second?", SHORT, first.conversation_id))
    assert second.streams["member:b"].messages[1] == Message("assistant", first.streams["ensemble"].text)
    branch = ended(service.branch(ALICE, first.id, 1, first.streams["ensemble"].steps[1].top[1].token_id))
    assert list(branch.streams) == ["ensemble", "member:a"]


def test_the_share_of_the_prompt_read_is_told_by_member(house: House) -> None:
    models = [FakeModel("a", 1), FakeModel("b", 2, fault=Fault("hang"))]
    for model in models:
        model.chunk_size = 8
    service = house.service(models)
    run = service.start(ALICE, "a prompt of quite some tokens, read in parts", SHORT)
    until(lambda: models[1].is_hanging.is_set() and run.streams["member:a"].finished)
    assert run.shares_read().get("b", 0.0) < 1.0
    models[1].released.set()
    ended(run)
    assert run.shares_read() == {}


def test_other_runs_that_decode_are_counted(house: House) -> None:
    model = FakeModel("a", 1, fault=Fault("hang"))
    service = house.service([model])
    runs = [service.start(ALICE, f"{number}", SHORT) for number in range(3)]
    until(lambda: sum(run.status == RunStatus.RUNNING for run in runs) == 2)
    assert [service.num_beside(run) for run in runs] == [1, 1, 2]
    model.released.set()


def test_text_that_no_database_takes_is_cleaned_at_the_edge(service: RunService) -> None:
    run = answer(service, "a\0b\ud800c <|im_end|> '; DROP TABLE run; --")
    assert run.prompt == "a\ufffdb\ufffdc <|im_end|> '; DROP TABLE run; --"
    assert run.streams["member:a"].messages[-1].content == run.prompt
    assert [line.prompt for line in listed(service, ALICE, search="DROP TABLE")] == [run.prompt]


BAD_REQUESTS: list[tuple[str, Any, dict[str, Any]]] = [
    ("prompt", "", {}),
    ("prompt", " \n\t", {}),
    ("prompt", None, {}),
    ("prompt", ["text"], {}),
    ("prompt", {"text": "x"}, {}),
    ("prompt", "x" * (MAX_PROMPT_CHARS + 1), {}),
    (r"prompt: .*is \d+ tokens long for a, whose context holds 64", "many tokens " * 60, {}),
    ("temperature", "x", {"temperature": -0.1}),  # others in tests/test_config.py
    ("weights", "x", {"weights": "best"}),
]


@pytest.mark.parametrize(("message", "prompt", "changes"), BAD_REQUESTS)
def test_a_bad_request_names_its_field_and_leaves_nothing(
    shared: tuple[RunService, list[FakeModel]], message: str, prompt: Any, changes: dict[str, Any]
) -> None:
    service, models = shared
    with pytest.raises(RequestError, match=f"^{message}") as caught:
        service.start(ALICE, prompt, changes)
    assert caught.value.field.split(".")[0] == message.split(":")[0]
    assert len(str(caught.value)) < 300, "a message, not a dump"
    assert listed(service, ALICE) == []
    assert [model.batches for model in models] == [[], []]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    models = [FakeModel("a", 1, context_length=64), FakeModel("b", 2)]
    house = House(tmp_path_factory.mktemp("shared") / "gac.db")
    yield house.service(models), models
    house.close()


def test_a_visitor_without_a_proper_key_is_refused(service: RunService) -> None:
    keys: list[Any] = ["", "short", "x" * 129, None, 7]
    for key in keys:
        with pytest.raises(RequestError, match="visitor_key"):
            service.start(key, "Hello", {})
        with pytest.raises(RequestError, match="visitor_key"):
            listed(service, key)


def test_a_conversation_s_name_is_trimmed_and_has_a_limit(service: RunService) -> None:
    conversation_id = answer(service).conversation_id
    for name, kept in (("n" * MAX_NAME_CHARS, "n" * MAX_NAME_CHARS), (" a\ud800 ", "a\ufffd")):
        service.history.name_conversation(ALICE, conversation_id, name)
        assert [one.name for one in service.history.conversations(ALICE, HistoryFilter())] == [kept]
    with pytest.raises(RequestError, match="121 characters are too many: at most 120"):
        service.history.name_conversation(ALICE, conversation_id, "n" * (MAX_NAME_CHARS + 1))


def test_the_configuration_s_hash_is_of_what_answers() -> None:
    fields = [{}, {"settings": {"threshold": 0.6}}, {"control_tokens": "keep"}, {"arena": {"temperature": 0.5}}]
    configs = [config_of("ac"), *(config_of("ab", **one) for one in fields)]
    assert len(set(map(config_hash_of, configs))) == len(configs)
    same = config_of("ab", server={"port": 8000}, arena={"max_per_hour": 5}, database_url="sqlite:///elsewhere.db")
    assert config_hash_of(same) == config_hash_of(config_of("ab"))
