"""Runs whose streams cannot have a thread each: decoded together, stopped, broken."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from gac_app.decoding.member import InlineMember
from gac_app.decoding.together import Part, Together, decode_together
from gac_app.decoding.trace import FinishReason
from gac_app.errors import GacError
from gac_app.executors.zero_gpu import on_zero_gpu, seconds_for
from gac_app.services.runs.runs import RunService
from gac_app.settings import Settings
from tests.fakes import SOON_S, WAIT_S, ensemble_of
from tests.services.house import ALICE, LONG, House, answer, begun, ended, fake_models, until


def together(service: RunService, decode: Callable[[tuple[Part, ...]], Together] | None = None) -> RunService:
    """The same service, decoding in turn, or as a test says."""
    ensemble = ensemble_of(fake_models(), service.config, InlineMember)
    service.members.use(ensemble, decodes_together=decode or partial(decode_together, ensemble))
    return service


def digests(run: Any) -> dict[str, str]:
    return {key: stream.finished.digest for key, stream in run.streams.items()}


def test_together_they_say_what_they_say_in_threads(house: House) -> None:
    expected = answer(house.service())
    run = answer(together(house.service()))
    assert run.status == "finished"
    assert digests(run) == digests(expected)


def test_a_run_is_stopped_and_a_branch_goes_on(house: House) -> None:
    service = together(house.service())
    run = begun(service.start(ALICE, "Go on", LONG), 3)
    service.stop(ALICE, run.id)
    ended(run)
    assert {stream.finished.reason for stream in run.streams.values() if stream.finished} == {FinishReason.ABORT}
    first = answer(service)
    token = first.streams["ensemble"].steps[2].top[1]
    branch = ended(service.branch(ALICE, first.id, 2, token.token_id))
    assert branch.streams["ensemble"].steps[2].token == token.token
    assert {stream.finished.reason for stream in branch.streams.values() if stream.finished} == {FinishReason.LENGTH}


def test_a_run_that_waits_for_a_gpu_is_stopped(house: House) -> None:
    is_lent, is_closed = threading.Event(), threading.Event()
    service = house.service(server={"max_running": 1})
    decode_together = together(service).members.decodes_together
    assert decode_together

    def wait_for_gpu(parts: tuple[Part, ...]) -> Together:
        try:
            is_lent.wait(WAIT_S)
            yield from decode_together(parts)
        finally:
            is_closed.set()

    together(service, wait_for_gpu)
    run = service.start(ALICE, "Go on", LONG)
    until(lambda: run.status == "running")
    stopped_at = time.monotonic()
    service.stop(ALICE, run.id)
    assert ended(run).status == "aborted"
    assert time.monotonic() - stopped_at < SOON_S
    together(service)
    assert answer(service).status == "finished", "its place is free"
    assert not is_closed.is_set()
    is_lent.set()
    assert is_closed.wait(WAIT_S), "a GPU that comes later is given back at once"
    assert [stream.events for stream in run.streams.values()] == [[stream.finished] for stream in run.streams.values()]


def test_what_keeps_a_run_from_decoding_is_told(house: House) -> None:
    def refuse(parts: tuple[Part, ...]) -> Together:
        yield parts[0].key, "this one alone"
        raise GacError("you have no GPU time left")

    run = answer(together(house.service(), refuse))
    details = [stream.finished.detail for stream in run.streams.values() if stream.finished]
    assert details == ["this one alone", "you have no GPU time left", "you have no GPU time left"]
    assert run.status == "failed"


class GradioError(Exception):
    message = "quota"  # to be shown, as Gradio's have one


@pytest.mark.parametrize(
    ("lengths", "seconds"), [((1,), 15), ((125,), 15), ((126,), 15), ((250,), 20), ((250, 500), 40), ((4000,), 120)]
)
def test_seconds_of_a_gpu_grow_with_the_answers(lengths: tuple[int, ...], seconds: int) -> None:
    parts = [Part("ensemble", (), Settings(max_new_tokens=length), None) for length in lengths]
    assert seconds_for(tuple(parts)) == seconds


@pytest.mark.parametrize(("error", "shown"), [(GradioError(), GacError), (ZeroDivisionError(), ZeroDivisionError)])
def test_what_the_lender_of_gpus_says_is_shown(house: House, error: Exception, shown: type[Exception]) -> None:
    asked = []

    def gpu(task: Any, *, duration: Any) -> Any:
        def lend(parts: tuple[Part, ...]) -> Together:
            asked.append(duration(parts))
            yield next(task(parts))
            raise error

        return lend

    config = house.service().config
    decode = on_zero_gpu(ensemble_of(fake_models(), config, InlineMember), gpu)
    parts = (Part("ensemble", (), config.settings, None),)
    found = decode(parts)
    assert next(found)[0] == "ensemble"
    with pytest.raises(shown):
        next(found)
    assert asked == [seconds_for(parts)]
