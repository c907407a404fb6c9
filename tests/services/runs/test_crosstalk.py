"""Visitors at once share forward passes, and nothing else."""

from __future__ import annotations

import threading

import pytest

from gac_app.services.runs.runs import LiveRun
from tests.fakes import WAIT_S
from tests.services.house import SHORT, House, ended, fake_models, listed, slow_models, texts

SAMPLED = {**SHORT, "temperature": 0.8}


@pytest.mark.slow
def test_ten_visitors_at_once_get_what_each_would_get_alone(house: House) -> None:
    models = slow_models()
    service = house.service(models, server={"max_running": 6, "max_waiting": 10})
    keys = [f"{number:064}" for number in range(10)]
    barrier = threading.Barrier(len(keys))
    runs: dict[str, LiveRun] = {}

    def visit(key: str) -> None:
        barrier.wait(WAIT_S)
        runs[key] = service.start(key, f"My marker is {key[-2:]}", SAMPLED)

    visitors = [threading.Thread(target=visit, args=(key,)) for key in keys]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join(WAIT_S)
    for run in runs.values():
        ended(run)

    assert max(models[0].batches) > 1, "some passes were shared"
    alone = house.service(fake_models())
    answers = set()
    for key in keys:
        run = runs[key]
        expected = ended(alone.start(key, f"My marker is {key[-2:]}", SAMPLED))
        assert texts(run) == texts(expected)
        assert {stream.messages for stream in run.streams.values()} == {expected.streams["ensemble"].messages}
        assert [line.run_id for line in listed(service, key, search="marker")][-1] == run.id
        assert [step.position for step in run.streams["ensemble"].steps] == list(range(10))
        answers.add(texts(run)["ensemble"])
    assert len(answers) == len(keys), "a marker each, an answer each"
