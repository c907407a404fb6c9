"""`Gac` over fakes: it queues, raises, streams, and shows its steps."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import weakref
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, cast
from unittest.mock import patch

import pytest
import torch

from gac_app import BusyError, ConstraintError, FinishReason, Gac, GacError, MemberError, Message, RequestError
from gac_app.config import Config
from gac_app.decoding.member import InlineMember
from gac_app.executors.threads import ThreadMember
from gac_app.loading import unite
from gac_app.models.sequence import LOCAL
from gac_app.settings import Settings
from tests.fakes import SOON_S, WAIT_S, FakeModel, Fault, config_of, ensemble_of, in_worker

SETTINGS = {"mode": "every-step", "max_new_tokens": 6, "gate": "a"}


def gac_of(*models: Any, **settings: Any) -> Gac:
    return Gac(ensemble_of(models, config_of([model.name for model in models], {**SETTINGS, **settings})))


@pytest.fixture
def gac() -> Iterator[Gac]:
    with gac_of(FakeModel("a", max_sequences=8), FakeModel("b", 1, max_sequences=8)) as gac:
        yield gac


def test_more_threads_than_sequences_wait_for_their_turn(gac: Gac) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(gac.answer, ["Hello"] * 40))
    assert {(answer.reason, answer.num_tokens) for answer in answers} == {(FinishReason.LENGTH, 6)}
    assert len({answer.digest for answer in answers}) == 1
    assert answers[0].text


def test_views_share_the_room_of_their_model() -> None:
    views = [{"name": name, "of": "a", "system_prompt": f"Be {name}."} for name in ("terse", "kind")]
    config = Config.model_validate({"members": [{"name": "a", "source": "random:1"}, *views], "settings": SETTINGS})
    model = FakeModel("a", max_sequences=12)
    with Gac(unite([model], config, ThreadMember, devices_disjoint=False)) as gac:
        assert {answer.num_tokens for answer in gac.answers(["Hello"] * 12)} == {6}


def test_answers_keep_the_order_of_their_prompts(gac: Gac) -> None:
    prompts = [f"Number {number}" for number in range(9)]
    together = gac.answers(prompts, parallel=20)
    assert [answer.text for answer in together] == [gac.answer(prompt).text for prompt in prompts]
    assert gac.answers([]) == []


def test_bad_input_is_told_at_once(gac: Gac) -> None:
    """Before a stream begins, too."""
    for ask, told in (
        (lambda: gac.stream("Hello", temperature=-1), "temperature"),
        (lambda: gac.stream(" "), "prompt: Enter a prompt"),
        (lambda: gac.answers("Hello"), "prompts: expected a list of texts"),
        (lambda: gac.score("Hello", "x"), "continuations: expected a list of texts"),
        (lambda: gac.answers(["Hello"], parallel=0), "parallel: expected at least 1"),
    ):
        with pytest.raises(RequestError, match=told):
            ask()


def test_a_member_that_fails_is_raised() -> None:
    broken = FakeModel("b", 1, fault=Fault("raise", marker=b"bad"))
    with gac_of(FakeModel("a"), broken) as gac:
        assert gac.answer("good").text
        with pytest.raises(MemberError, match="b: RuntimeError: planned"):
            gac.answer("bad")
        with pytest.raises(MemberError, match="planned"):
            gac.answers(["good", "bad", "good"])
        with pytest.raises(MemberError, match="planned"):
            asyncio.run(gac.answer_async("bad"))
        num_before = len(broken.batches)
        with (
            patch.object(gac.ensemble, "request", wraps=gac.ensemble.request) as asked,
            pytest.raises(MemberError, match="planned"),
        ):
            gac.answers(["good", "bad", *["good"] * 200], parallel=2, max_new_tokens=3000)
        assert len(broken.batches) < num_before + 1000, "the others end with the first failure"
        assert asked.call_count < 100, "those that wait do not begin"
        assert broken.num_held <= 4  # of the prefix cache


def test_a_stream_is_the_answer(gac: Gac) -> None:
    def streamed() -> Any:
        answer = yield from gac.stream("Hello")
        ended.append(answer)

    ended: list[Any] = []
    texts = [event.text for event in streamed()]
    assert "".join(texts) == ended[0].text == gac.answer("Hello").text == str(ended[0])


def test_settings_come_in_three_ways(gac: Gac) -> None:
    shorter = [
        gac.answer("Hello", max_new_tokens=3),
        gac.answer("Hello", settings={"max_new_tokens": 3}),
        gac.answer("Hello", settings=Settings(mode="every-step", max_new_tokens=3)),
    ]
    assert {(answer.num_tokens, answer.digest) for answer in shorter} == {(3, shorter[0].digest)}
    alone = gac.answer("Hello", alone="b", raw=True)
    assert [member.member for member in alone.steps[0].members] == ["b"]


def test_a_chat_is_that_of_transformers(gac: Gac) -> None:
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    by_messages = gac.answer([Message("system", "Be brief."), Message("user", "Hello")])
    assert gac.answer(chat).digest == by_messages.digest != gac.answer("Hello").digest


def test_half_a_surrogate_is_a_question_mark(gac: Gac) -> None:
    """As json.loads gives it from a file of questions: it has no UTF-8."""
    how: dict[str, Any] = {"raw": True, "weights": "prompt-perplexity"}
    assert gac.answer("a\ud800", **how).digest == gac.answer("a?", **how).digest
    assert gac.score("a", ["\ud800"]) == gac.score("a", ["?"])
    with gac.decode("a") as decoding:
        assert decoding.feed("\ud800").token == b"?"


@pytest.mark.parametrize(
    ("chat", "told"),
    [
        ([], "expected a text, or a list of messages"),
        (7, "expected a text, or a list of messages"),
        ([{"role": "tool", "content": "x"}], "message 0: expected the role system, user, assistant; got 'tool'"),
        ([{"role": "user"}], "message 0: expected a dictionary with 'role' and 'content'"),
        ([{"role": "user", "content": ["x"]}], "expected a text as its content; got list"),
    ],
)
def test_a_wrong_chat_is_told(gac: Gac, chat: Any, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        gac.answer(chat)


def test_asyncio_twins_give_the_same(gac: Gac) -> None:
    async def twins() -> tuple[Any, ...]:
        streamed = "".join([event.text async for event in gac.stream_async("Hello")])
        many = await asyncio.gather(*(gac.answer_async("Hello") for _ in range(12)))
        [one] = await gac.answers_async(["Hello"])
        [score] = await gac.score_async("Hello", [" you"])
        return streamed, {answer.text for answer in many}, one.text, score.log_prob

    text = gac.answer("Hello").text
    assert asyncio.run(twins()) == (text, {text}, text, gac.score("Hello", [" you"])[0].log_prob)


def test_a_cancelled_answer_gives_its_place_back() -> None:
    slow = FakeModel("a", delay_s=0.01, max_sequences=2, context_length=10_000)
    slow.chunk_size = 4
    with gac_of(slow, max_new_tokens=30_000) as gac:
        long, texts = "~" * 9000, [f"{n}" for n in range(9000)]

        async def read_all(events: AsyncIterator[Any]) -> None:
            async for _ in events:
                pass

        async def cancelled() -> None:
            answers = gac.answer_async("Hello"), gac.answer_async(long)
            streams = read_all(gac.stream_async("Hello")), read_all(gac.stream_async(long))
            async with asyncio.timeout(SOON_S):
                for how in (*answers, *streams, gac.score_async("Hello", texts)):
                    call, num_read = asyncio.create_task(how), slow.num_read
                    while slow.num_read < num_read + 30:
                        await asyncio.sleep(0.01)
                    call.cancel()
                assert (await gac.answer_async("Hello", max_new_tokens=2)).num_tokens == 2
                await asyncio.gather(*(gac.score_async(f"{n}", ["a", f"b{n}"]) for n in range(9)))  # each in its turn

        asyncio.run(cancelled())


@pytest.mark.parametrize("how", [{}, {"temperature": 1.0, "seed": 3, "mode": "gate", "threshold": 0.9}])
def test_steps_are_those_of_the_answer(gac: Gac, how: dict[str, Any]) -> None:
    with gac.decode("Hello", **how) as decoding:
        while not decoding.is_finished:
            step = decoding.look()
            mean = sum(step.weights[name] * probs for name, probs in step.probs.items())
            assert torch.allclose(step.mixture, mean, atol=1e-6)
            assert step.mixture.shape == (len(gac.union),)
            assert step.own_probs["a"].sum() == pytest.approx(1, abs=1e-4)
            assert step.is_ensembled == (len(step.weights) > 1)
            decoding.feed()
        stepped = decoding.close()
    assert (stepped.digest, stepped.text) == ((answer := gac.answer("Hello", **how)).digest, answer.text)


def test_closing_again_leaves_other_answers_alone(gac: Gac) -> None:
    with gac.decode("Hello") as decoding:
        decoding.feed()
        decoding.close()
        other = gac.decode("Hi")
        other.feed()  # in the room that is free now
    third = gac.decode("Hey")
    third.feed()
    for _ in range(5):
        other.feed()
        third.feed()
    assert [other.close().text, third.close().text] == [gac.answer("Hi").text, gac.answer("Hey").text]


def test_a_token_of_ones_own_is_fed(gac: Gac) -> None:
    with gac.decode("Hello", raw=True) as decoding:
        step = decoding.look()
        for probs_U in (step.mixture, *step.probs.values(), *step.own_probs.values()):
            probs_U.zero_()  # a copy
        step = decoding.look()
        for probs_U in (step.mixture, *step.probs.values(), *step.own_probs.values()):
            assert probs_U.sum() == pytest.approx(1, abs=1e-4)
        least = int(decoding.look().mixture[:-1].argmin())  # not END
        assert decoding.feed(least).token == gac.union.tokens[least]
        assert decoding.feed(torch.tensor(0)).token == gac.union.tokens[0]
        decoding.feed("a")
        assert decoding.text.endswith("a")
        decoding.feed(b"")
        assert decoding.is_finished
        with pytest.raises(RequestError, match="has come to its end"):
            decoding.look()
        assert decoding.close().reason is FinishReason.STOP


def test_after_a_token_that_is_not_allowed_another_may_be_fed(gac: Gac) -> None:
    with gac.decode("Hello", json_schema={"enum": [12]}) as decoding:
        decoding.feed("1")
        with pytest.raises(ConstraintError, match="does not fit"):
            decoding.feed("a")
        decoding.feed("2")
        decoding.feed(b"")
        assert decoding.close().text == "12"


def test_where_the_only_room_is_held_nobody_waits_for_it() -> None:
    with gac_of(FakeModel("a", max_sequences=1), max_new_tokens=2) as gac:
        with gac.decode("Hello"), pytest.raises(BusyError, match="close one"):
            gac.answer("Hi")
        with closing(gac.stream("Hello")) as stream:
            next(stream)
            asks = gac.answer, gac.decode, lambda prompt: gac.answers([prompt]), lambda prompt: gac.score(prompt, ["x"])
            for ask in asks:
                with pytest.raises(BusyError, match="close one"):
                    ask("Hi")
        assert gac.answer("Hi").num_tokens == 2


def test_steps_that_could_not_begin_hold_no_room() -> None:
    ensemble = ensemble_of([FakeModel("a", max_sequences=1)], config_of(["a"]), InlineMember)
    with Gac(ensemble) as gac:
        other = ensemble.members["a"].open([1], LOCAL)
        with pytest.raises(MemberError, match="as many sequences as it can"):
            gac.decode("Hello")
        ensemble.members["a"].free(other)
        with pytest.raises(RequestError, match="top_p"):
            gac.decode("Hello", top_p=2)
        gac.decode("Hello").close()


@pytest.mark.parametrize("token", [-1, 10**6, "no such token at all", b"\xff\xfe\xfd\xfc"])
def test_a_token_that_there_is_not_is_told(gac: Gac, token: Any) -> None:
    with gac.decode("Hello") as decoding, pytest.raises(RequestError, match="union"):
        decoding.feed(token)


def test_steps_left_open_leave_room_for_an_answer(gac: Gac) -> None:
    opened = [gac.decode("Hello") for _ in range(3)]
    with pytest.raises(BusyError, match="3 answers are decoded step by step already"):
        gac.decode("Hello")
    assert gac.answer("Hello").text
    for decoding in opened:
        with closing(decoding):
            decoding.look()
    gac.decode("Hello").close()


def test_a_thread_does_not_wait_for_its_own_streams(gac: Gac) -> None:
    streams = [gac.stream("Hello") for _ in range(5)]
    with pytest.raises(BusyError, match="close one"):
        list(zip(*streams, strict=True))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(next, streams[0]).result()  # from here on that thread may end it at any time
        pool.submit(list, streams[0])
        assert gac.answer("Hello").text


def test_an_ensemble_that_nobody_has_is_closed() -> None:
    models = FakeModel("a"), FakeModel("b", 1)
    gac = gac_of(*models)
    ensemble, workers = weakref.ref(gac.ensemble), workers_of(gac)
    stream, decoding = gac.stream("Hello"), gac.decode("Hello")
    next(stream)
    del gac
    gc.collect()
    assert next(stream).step.position == 1
    del stream
    gc.collect()
    assert decoding.feed().position == 0
    assert not models[0].is_closed
    del decoding
    gc.collect()
    assert ensemble() is None
    assert [worker.is_alive() for worker in workers] == [False, False]
    assert [model.is_closed for model in models] == [True, True]


def test_an_ensemble_collected_by_its_worker_is_closed() -> None:
    models = FakeModel("a"), FakeModel("b", 1)
    last = [gac_of(*models)]
    workers, member = workers_of(last[0]), cast(ThreadMember, last[0].ensemble.members["a"])
    in_worker(member, last.clear)
    for worker in workers:
        worker.join(WAIT_S)
    assert [model.is_closed for model in models] == [True, True]


def workers_of(gac: Gac) -> list[Any]:
    return [cast(ThreadMember, member)._thread for member in gac.ensemble.members.values()]


def test_steps_that_nobody_has_give_their_room_back(gac: Gac) -> None:
    for _ in range(9):
        gac.decode("Hello").look()


def test_a_closed_ensemble_is_told(gac: Gac) -> None:
    decoding = gac.decode("Hello")
    gac.close()
    for use in (lambda: gac.answer("Hello"), lambda: gac.score("Hello", ["x"]), decoding.look):
        with pytest.raises(GacError, match="the ensemble is closed"):
            use()


FORKED = """
import multiprocessing, sys, gac_app

gac = gac_app.load([{"name": "a", "source": "random:1"}, {"name": "b", "source": "random:2"}], max_new_tokens=4)
decoding, stream = gac.decode("Hello"), gac.stream("Hello")
print(next(stream).step.position, flush=True)


def use():
    for ask in (lambda: gac.answer("Hello"), decoding.look):
        try:
            ask()
        except gac_app.GacError as error:
            print(error)
    gac.close()
    sys.exit()  # runs finalizers


child = multiprocessing.get_context("fork").Process(target=use)
child.start()
child.join()
print(gac.answer("Hello").num_tokens)
"""


@pytest.mark.process
@pytest.mark.slow
def test_a_fork_is_told_at_once_and_a_program_ends() -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60, check=False)
    told = (
        "the ensemble belongs to another process, and a fork leaves its threads behind: load it in the child process, "
        "or start processes by the method 'spawn'"
    )
    assert (done.returncode, done.stdout.splitlines()) == (0, ["0", told, told, "4"]), done.stderr


LEFT_OPEN = """
import gac_app
answers = gac_app.load(["random:1", "random:2"]).stream("Go on", max_new_tokens=64)
next(answers)
"""
NEVER_CLOSED = """
import atexit
atexit.register(lambda: print([member._thread.is_alive() for member in ensemble.members.values()]))  # last
from gac_app.loading import load_ensemble
from tests.fakes import config_of
ensemble = load_ensemble(config_of(["a", "b"]))
events = ensemble.generate("Go on", ensemble.config.settings)
next(events)
"""


@pytest.mark.parametrize(("program", "told"), [(LEFT_OPEN, ""), (NEVER_CLOSED, "[False, False]\n")])
def test_a_program_ends_though_it_closes_nothing(program: str, told: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", told)
