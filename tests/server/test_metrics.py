"""`/metrics`: what was decoded, whoever asked, to those who may know."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from gac_app.errors import RequestError
from gac_app.server.host import HostSecrets, create_host
from gac_app.server.logs import log_ended
from gac_app.services.runs.runs import RunService
from tests.fakes import FakeModel
from tests.server.conftest import HERE
from tests.services.battles.test_arena import Arena
from tests.services.conftest import house as house
from tests.services.house import ALICE, LONG, House, answer, begun, ended, until

SECRET = "who-is-not-to-be-told"
ROOT = Path(__file__).parents[2]


def figures(service: RunService) -> dict[tuple[str, ...], float]:
    """By name and the values of its labels."""
    families = text_string_to_metric_families(service.metrics.text().decode())
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


def test_answers_are_counted_when_they_end(house: House) -> None:
    service = house.service()
    runs = [answer(service, SECRET, mode="every-step", max_new_tokens=5) for _ in range(2)]
    found = figures(service)
    ends = [stream.finished for run in runs for stream in run.streams.values() if stream.finished]
    assert len(ends) == 6
    assert found["gac_generation_tokens_total",] == sum(end.num_tokens for end in ends)
    assert found["gac_steps_ensembled_total",] == sum(end.num_ensembled for end in ends) > 0
    won = sum(value for (name, *_), value in found.items() if name == "gac_steps_won_total")
    assert won == found["gac_steps_ensembled_total",]
    for member in ("a", "b"):
        forwards = sum(end.members[member].num_forwards for end in ends if member in end.members)
        assert found["gac_member_forwards_total", member] == forwards > 0
    reasons = sum(value for (name, *_), value in found.items() if name == "gac_request_success_total")
    assert reasons == found["gac_e2e_request_latency_seconds_count",] == 6
    assert SECRET not in service.metrics.text().decode()
    assert ALICE not in service.metrics.text().decode()


def test_a_battle_is_counted_when_its_names_are_told(house: House, caplog: pytest.LogCaptureFixture) -> None:
    arena = Arena(house)
    arena.runs.when_ended(log_ended)
    before = figures(arena.runs)
    caplog.set_level(logging.DEBUG)
    view = arena.answered()
    assert figures(arena.runs) == before
    assert not [record for record in caplog.records if record.name.startswith("gac_app")]
    voted = arena.service.judge.vote(ALICE, view.id, "left", view.ballot)
    arena.service.battles.look(ALICE, voted.id)
    after = figures(arena.runs)
    assert after["gac_votes_total", "arena"] == 1.0
    assert sum(value for (name, *_), value in after.items() if name == "gac_request_success_total") == 2
    assert sum(value for (name, *_), value in after.items() if name == "gac_member_forwards_total") > 0


def test_copied_answers_are_not_counted_again(house: House) -> None:
    service = house.service()
    run = answer(service)
    before = figures(service)["gac_generation_tokens_total",]
    again = ended(service.regenerate(ALICE, run.id, "ensemble"))
    decoded = again.streams["ensemble"].finished
    assert decoded
    assert figures(service)["gac_generation_tokens_total",] - before == decoded.num_tokens


def test_runs_that_go_on_and_wait_are_shown(house: House) -> None:
    service = house.service([FakeModel("a", 1, delay_s=0.01), FakeModel("b", 2)], server={"max_running": 1})
    first = begun(service.start(ALICE, "one", LONG))
    second = service.start(ALICE, "two", LONG)
    found = figures(service)
    assert (found["gac_num_requests_running",], found["gac_num_requests_waiting",]) == (1, 1)
    for run in (second, first):
        service.stop(ALICE, run.id)
        ended(run)
    until(lambda: figures(service)["gac_num_requests_running",] == 0, "for the count behind the answer")
    assert figures(service)["gac_request_success_total", "abort"] >= 1


@pytest.mark.parametrize(
    ("public", "token", "answers"),  # by the token that is given
    [
        (False, "", {"": 200}),
        (True, "", {"": 404}),
        (True, "right", {"": 401, "wrong": 401, "right": 200}),
        (False, "right", {"": 401}),
    ],
)
def test_strangers_learn_nothing(house: House, public: bool, token: str, answers: dict[str, int]) -> None:
    service = house.service(public=public)
    host = create_host(service, service.config, secrets=HostSecrets(operator=token))
    client = TestClient(host, base_url=HERE)
    for given, status in answers.items():
        answered = client.get("/metrics", headers={"Authorization": f"Bearer {given}"} if given else {})
        assert answered.status_code == status, given
        assert ("gac_generation_tokens" in answered.text) == (status == 200)


def test_votes_are_counted_once_they_are_stored(house: House) -> None:
    service = house.service()
    run = answer(service)
    service.history.vote(ALICE, run.id, "ensemble")
    service.history.vote(ALICE, run.id, "tie")
    with pytest.raises(RequestError):
        service.history.vote(ALICE, run.id, "nobody")
    until(lambda: figures(service)["gac_votes_total", "compare"] == 2, "for the count behind the vote")


def test_the_dashboard_shows_metrics_that_there_are(house: House) -> None:
    service = house.service()
    run = answer(service, mode="every-step", max_new_tokens=5)
    service.history.vote(ALICE, run.id, "tie")
    there = {name for name, *_ in figures(service)}
    dashboard = json.loads((ROOT / "docs" / "grafana.json").read_text("utf-8"))
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    shown = {name for expression in asked for name in re.findall(r"\bgac_\w+", expression)}
    assert shown <= there
    families = {name.removesuffix("_bucket") for name in shown}
    made = {name for name in there if not name.endswith(("_created", "_count", "_sum", "_bucket"))}
    assert made <= families
