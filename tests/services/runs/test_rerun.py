"""Running a run again: the new one knows which run it repeats, live and stored."""

from __future__ import annotations

from typing import Any

from gac_app.services.runs.comparison import Comparison, compare_streams
from gac_app.services.runs.runs import RunService
from gac_app.services.runs.views import RunView
from tests.fakes import FakeModel
from tests.services.house import ALICE, SHORT, House, answer, ended


def comparisons(service: RunService, run: RunView) -> dict[str, Comparison | None]:
    before = service.history.run_before(ALICE, run)
    assert before is not None
    return {key: compare_streams(before.streams[key], stream) for key, stream in run.streams.items()}


def test_other_models_of_the_same_names_are_found_out(house: House) -> None:
    service = house.service()
    first = answer(service)
    service.close()

    service = house.service([FakeModel("a", 1), FakeModel("b", 3)])
    found = comparisons(service, ended(service.rerun(ALICE, first.id)))

    other = found["member:b"]
    assert found["member:a"] == Comparison("equal", 10)
    assert other is not None
    assert other.digests == "different"
    assert other.tokens is not None


def test_a_later_turn_run_again_begins_a_conversation(house: House) -> None:
    service = house.service()
    first = answer(service, "First?")
    changes: dict[str, Any] = SHORT
    second = ended(service.start(ALICE, "Second?", changes, first.conversation_id))

    again = ended(service.rerun(ALICE, second.id))

    assert comparisons(service, again) == dict.fromkeys(first.streams)


def test_what_cannot_be_the_same_again_is_not_compared(house: House) -> None:
    service, others = house.service(), house.service([FakeModel("a", 1)])
    first = answer(service, mode="every-step")
    branch = ended(service.branch(ALICE, first.id, 0, first.streams["ensemble"].steps[0].top[1].token_id))
    assert service.history.run_before(ALICE, ended(service.rerun(ALICE, branch.id))) is None
    assert others.history.run_before(ALICE, ended(others.rerun(ALICE, first.id))) is None
    second = ended(service.start(ALICE, "Second?", SHORT, first.conversation_id))
    again = ended(service.rerun(ALICE, second.id))
    assert service.history.run_before(ALICE, again) is second
    service.history.delete_run(ALICE, branch.id)
    assert service.history.run_before(ALICE, again) is None, "it has lost a turn"
