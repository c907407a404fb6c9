"""Another visitor's run is missing like one that never was, whatever is tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from gac_app.errors import NotFoundError
from gac_app.services.runs.runs import LiveRun, RunService
from tests.services.house import ALICE, BOB, SHORT, House, answer, listed

Attempt = Callable[[RunService, str, LiveRun], object]

ATTEMPTS: dict[str, Attempt] = {
    "find": lambda service, key, run: service.history.find(key, run.id),
    "step": lambda service, key, run: service.history.steps(key, run.id, "ensemble", 0),
    "stop": lambda service, key, run: service.stop(key, run.id),
    "vote": lambda service, key, run: service.history.vote(key, run.id, "tie"),
    "undo": lambda service, key, run: service.history.undo_vote(key, run.id),
    "branch": lambda service, key, run: service.branch(
        key, run.id, 1, run.streams["ensemble"].steps[1].top[1].token_id
    ),
    "revise": lambda service, key, run: service.revise(key, run.id, "mine", SHORT),
    "regenerate": lambda service, key, run: service.regenerate(key, run.id, "ensemble"),
    "extend": lambda service, key, run: service.extend(key, run.id),
    "compare": lambda service, key, run: service.compare(key, run.id, {"mode": "every-step"}),
    "rerun": lambda service, key, run: service.rerun(key, run.id),
    "delete": lambda service, key, run: service.history.delete_run(key, run.id),
    "conversation": lambda service, key, run: service.history.conversation(key, run.conversation_id),
    "follow-up": lambda service, key, run: service.start(key, "And then?", SHORT, run.conversation_id),
}


@pytest.fixture(scope="module", params=["live", "stored"])
def owned(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunService, LiveRun]]:
    """A service, and a run of Alice's in its memory or in its database alone."""
    house = House(tmp_path_factory.mktemp("owned") / "gac.db")
    service = house.service()
    run = answer(service)
    if request.param == "stored":
        service.close()
        service = house.service()
    yield service, run
    house.close()


@pytest.mark.parametrize("name", ATTEMPTS)
def test_another_visitor_s_run_is_missing_everywhere(owned: tuple[RunService, LiveRun], name: str) -> None:
    service, run = owned

    with pytest.raises(NotFoundError) as caught:
        ATTEMPTS[name](service, BOB, run)

    assert run.id not in str(caught.value)
    assert "colours" not in str(caught.value)


def test_nothing_of_it_was_done_and_its_owner_still_has_it(owned: tuple[RunService, LiveRun]) -> None:
    service, run = owned

    assert listed(service, BOB) == []
    assert [line.run_id for line in listed(service, ALICE)] == [run.id]
    found = service.history.find(ALICE, run.id)
    assert (found.outcome, found.status) == (None, run.status)


@pytest.mark.slow
def test_the_owner_may_do_all_that_is_refused_to_others(house: House) -> None:
    service = house.service()
    run = answer(service)
    for name in [*sorted(ATTEMPTS.keys() - {"stop", "delete"}), "delete"]:
        ATTEMPTS[name](service, ALICE, run)
