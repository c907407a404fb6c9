"""`/metrics`: what was decoded, whoever asked, to those who may know."""

from __future__ import annotations

import json
import logging
import re

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from gac_app.decoding.trace import Event, FinishedEvent, FinishReason, MemberUsage, TokenEvent
from gac_app.errors import RequestError
from gac_app.server.host import HostSecrets, create_host
from gac_app.server.logs import log_ended
from gac_app.services.runs.metrics import Metrics
from gac_app.services.runs.views import StreamView
from tests.fakes import FakeModel
from tests.server.conftest import HERE
from tests.server.site import ROOT
from tests.services.battles.test_arena import Arena
from tests.services.conftest import house as house
from tests.services.house import ALICE, LONG, House, answer, begun, ended, until
from tests.ui.planted import GATED, planted_step

SECRET = "who-is-not-to-be-told"


def figures(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """By name and the values of its labels, without when it was made."""
    samples = [one for family in text_string_to_metric_families(metrics.text().decode()) for one in family.samples]
    return {(one.name, *one.labels.values()): one.value for one in samples if not one.name.endswith("_created")}


def test_all_of_an_answer_is_counted() -> None:
    """Without what was replayed."""
    steps: list[Event] = [TokenEvent("x", planted_step(position, "x")) for position in range(6)]
    usage = {"Small": MemberUsage(3, 30, 0.25), "Large": MemberUsage(1, 10, 0.5)}
    end = FinishedEvent(FinishReason.STOP, "", 6, 0, 0.2, 1.0, usage, num_replayed=2)
    metrics = Metrics()
    metrics.answered([StreamView("ensemble", events=[*steps, end]), StreamView("a")])
    assert GATED == (1, 3, 4)
    found = {" ".join(name).removeprefix("gac_"): value for name, value in figures(metrics).items() if value}
    histograms = ("time_to_first_token_seconds", "request_time_per_output_token_seconds", "e2e_request_latency_seconds")
    counted = {"request_success_total stop": 1, "generation_tokens_total": 4, "steps_ensembled_total": 2}
    counted |= {"steps_drafted_total": 1, "steps_won_total Small": 2}
    for name, num_forwards, num_read, seconds in (("Small", 3, 30, 0.25), ("Large", 1, 10, 0.5)):
        counted |= {f"member_forwards_total {name}": num_forwards, f"member_tokens_read_total {name}": num_read}
        counted |= {f"member_seconds_total {name}": seconds}
    assert {name: value for name, value in found.items() if not name.startswith(histograms)} == counted
    sums = {name: pytest.approx(found[f"{name}_sum"]) for name in histograms}
    assert sums == dict(zip(histograms, (0.2, 0.8 / 3, 1.0), strict=True))
    assert [found[f"{name}_count"] for name in histograms] == [1, 1, 1]


def test_a_battle_is_counted_when_its_names_are_told(house: House, caplog: pytest.LogCaptureFixture) -> None:
    arena = Arena(house)
    arena.runs.when_ended(log_ended)
    before = figures(arena.runs.metrics)
    caplog.set_level(logging.DEBUG)
    view = arena.answered()
    assert figures(arena.runs.metrics) == before
    assert not [record for record in caplog.records if record.name.startswith("gac_app")]
    voted = arena.service.judge.vote(ALICE, view.id, "left", view.version)
    arena.service.battles.look(ALICE, voted.id)
    after = figures(arena.runs.metrics)
    assert after["gac_votes_total", "arena"] == 1.0
    assert sum(value for (name, *_), value in after.items() if name == "gac_request_success_total") == 2
    assert sum(value for (name, *_), value in after.items() if name == "gac_member_forwards_total") > 0


def test_copied_answers_are_not_counted_again(house: House) -> None:
    service = house.service()
    run = answer(service)
    before = figures(service.metrics)["gac_generation_tokens_total",]
    again = ended(service.regenerate(ALICE, run.id, "ensemble"))
    decoded = again.streams["ensemble"].finished
    assert decoded
    assert figures(service.metrics)["gac_generation_tokens_total",] - before == decoded.num_tokens


def test_runs_that_go_on_and_wait_are_shown(house: House) -> None:
    service = house.service([FakeModel("a", 1, delay_s=0.01), FakeModel("b", 2)], server={"max_running": 1})
    first = begun(service.start(ALICE, "one", LONG))
    second = service.start(ALICE, "two", LONG)
    found = figures(service.metrics)
    assert (found["gac_num_requests_running",], found["gac_num_requests_waiting",]) == (1, 1)
    for run in (second, first):
        service.stop(ALICE, run.id)
        ended(run)
    until(lambda: figures(service.metrics)["gac_num_requests_running",] == 0, "for the count behind the answer")
    assert figures(service.metrics)["gac_request_success_total", "abort"] >= 1


# Whether it is public, its token, and the answers by the token that is given.
HOSTS = [(False, "", {"": 200}), (True, "", {"": 404}), (False, "right", {"": 401})]
HOSTS += [(True, "right", {"": 401, "wrong": 401, "right": 200})]


@pytest.mark.parametrize(("public", "token", "answers"), HOSTS)
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
    until(lambda: figures(service.metrics)["gac_votes_total", "compare"] == 2, "for the count behind the vote")


def test_the_dashboard_shows_metrics_that_there_are(house: House) -> None:
    service = house.service()
    run = answer(service, SECRET, mode="every-step", max_new_tokens=5)
    service.history.vote(ALICE, run.id, "tie")
    until(lambda: ("gac_votes_total", "compare") in figures(service.metrics), "for the count behind the vote")
    assert not any(private in service.metrics.text().decode() for private in (SECRET, ALICE))
    there = {name for name, *_ in figures(service.metrics)}
    dashboard = json.loads((ROOT / "docs" / "grafana.json").read_text("utf-8"))
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    shown = {name for expression in asked for name in re.findall(r"\bgac_\w+", expression)}
    assert shown <= there
    families = {name.removesuffix("_bucket") for name in shown}
    assert {name for name in there if not name.endswith(("_count", "_sum", "_bucket"))} <= families
