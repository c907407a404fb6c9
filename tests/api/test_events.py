"""A run's events can be followed by others, from any of them on."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.api.site import Site, refusal_of
from tests.fakes import FakeModel, Fault
from tests.services.house import until

Sites = Callable[..., Site]


def told(answer: httpx.Response) -> list[tuple[str, str, dict[str, Any]]]:
    """Id, kind and data of each event."""
    assert answer.status_code == 200, answer.text
    found = []
    for block in filter(None, answer.text.split("\n\n")):
        lines = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((lines["id"], lines["event"], json.loads(lines["data"])))
    return found


def follow(here: Site, name: str, last: str = "") -> httpx.Response:
    return here.client.get(f"/v1/runs/{name}/events", headers={"Last-Event-ID": last} if last else {})


def test_events_are_the_answer_s(site: Sites) -> None:
    here = site()
    answer = here.chat(n=2, temperature=1.0, gac={}).json()
    events = told(follow(here, answer["id"]))
    for choice in answer["choices"]:
        own = [(kind, data) for _, kind, data in events if data["choice"] == choice["index"]]
        assert [data["step"] for kind, data in own if kind == "token"] == choice["gac"]["steps"]
        assert "".join(data["text"] for kind, data in own if kind == "token") == choice["message"]["content"]
        assert (own[-1][0], own[-1][1]["digest"]) == ("finished", choice["gac"]["digest"])


def test_events_go_on_after_any_of_them(site: Sites) -> None:
    here = site()
    name = here.chat(n=2).json()["id"]
    events = told(follow(here, name))
    for number, (last, _, _) in enumerate(events):
        rest = told(follow(here, name, last))
        assert sorted(map(str, [data for _, _, data in rest])) == sorted(
            map(str, [data for _, _, data in events[number + 1 :]])
        )


@pytest.mark.parametrize("last", ["x", "1", "1.2.3", "-1.0", "1." + "9" * 20])
def test_an_event_of_no_such_id_is_refused(site: Sites, last: str) -> None:
    here = site()
    name = here.chat(n=2).json()["id"]
    assert refusal_of(follow(here, name, last))[0] == 400


def test_another_s_run_is_not_found(site: Sites) -> None:
    here = site()
    name = here.chat().json()["id"]
    here.completions.find(name.rpartition("-")[2], here.asker())
    for run_id in ("chatcmpl-0", "x", name + "0"):
        status, error = refusal_of(follow(here, run_id))
        assert (status, error["code"], error["param"]) == (404, "run_not_found", "run_id")
    other = here.client_from("10.0.0.9").get(f"/v1/runs/{name}/events")
    assert refusal_of(other)[0] == 404


def test_another_server_says_that_it_is_not_its_run(site: Sites) -> None:
    here, there = site(), site()
    for asked, other in ((here, there), (there, here)):
        name = asked.chat().json()["id"]
        assert told(follow(asked, name))
        status, error = refusal_of(follow(other, name))
        assert (status, error["code"], error["param"]) == (421, "run_elsewhere", "run_id")
        assert "another server answers this run" in error["message"]
    for wrong in (name[-32:-30], "_" * 32, "%25" * 32, "%00" * 32, "0" * 32):
        assert refusal_of(follow(here, f"cmpl-{wrong}"))[0] == 404


def test_a_run_goes_on_while_somebody_follows(site: Sites) -> None:
    models = [FakeModel("a", 1, fault=Fault("hang")), FakeModel("b", 2)]
    here = site(models)
    answers: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: answers.append(here.chat()))
    asking.start()
    until(models[0].is_hanging.is_set)
    [run] = here.under_way
    following = threading.Thread(target=lambda: answers.append(follow(here, run.id)))
    following.start()
    until(lambda: run.num_followers == 2)
    models[0].released.set()
    asking.join()
    following.join()
    assert sorted(answer.headers["content-type"].partition(";")[0] for answer in answers) == [
        "application/json",
        "text/event-stream",
    ]
