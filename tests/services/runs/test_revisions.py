"""Runs in the place of earlier ones: revised, one answer anew, gone on beyond the limit."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from gac_app.errors import RequestError
from gac_app.services.battles.records import side_facts
from gac_app.storage import Store
from tests.databases import database_in
from tests.fakes import FakeModel
from tests.services.house import ALICE, SHORT, House, answer, begun, ended, slow_models, texts


def test_a_revised_prompt_takes_the_run_s_place(house: House) -> None:
    service = house.service()
    first = answer(service, "First?")
    second = ended(service.start(ALICE, "Secnod?", SHORT, first.conversation_id))

    again = ended(service.revise(ALICE, second.id, "Second?", SHORT))
    third = ended(service.start(ALICE, "Third?", SHORT, first.conversation_id))

    assert (again.parent_run_id, again.branch_position, again.conversation_id) == (
        second.id,
        None,
        first.conversation_id,
    )
    asked = [message.content for message in third.streams["ensemble"].messages if message.role == "user"]
    assert asked == ["First?", "Second?", "Third?"]


def test_a_comparison_has_other_settings(house: House) -> None:
    service = house.service()
    run = answer(service)
    with pytest.raises(RequestError, match="are the settings of this run"):
        service.compare(ALICE, run.id, {"max_new_tokens": 11})
    other = ended(service.compare(ALICE, run.id, {**SHORT, "mode": "every-step"}))
    assert service.history.run_beside(ALICE, other) is run
    third = ended(service.start(ALICE, "And then?", SHORT, run.conversation_id))
    assert [message.content for message in third.streams["member:a"].messages][1] == texts(other)["ensemble"]


def test_a_branch_is_compared_with_no_settings(house: House) -> None:
    service = house.service()
    run = answer(service)
    step = run.streams["ensemble"].steps[0]
    instead = next(candidate.token_id for candidate in step.top if candidate.token_id != step.token_id)
    branch = ended(service.branch(ALICE, run.id, 0, instead))
    with pytest.raises(RequestError, match="is a branch"):
        service.compare(ALICE, branch.id, {"mode": "every-step"})
    revised = ended(service.revise(ALICE, branch.id, run.prompt, {**SHORT, "mode": "every-step"}))
    assert service.history.run_beside(ALICE, revised) is None


def test_one_answer_anew_takes_over_the_others(house: House) -> None:
    service = house.service()
    run = answer(service, temperature=1.5, seed=3)

    anew = ended(service.regenerate(ALICE, run.id, "member:b"))
    later = ended(service.regenerate(ALICE, anew.id, "member:b"))

    assert {key: text == texts(run)[key] for key, text in texts(anew).items()} == {
        "ensemble": True, "member:a": True, "member:b": False,
    }  # fmt: skip
    assert (anew.seeds, later.seeds, later.settings.seed) == ({"member:b": 4}, {"member:b": 5}, 3)
    together = ended(service.regenerate(ALICE, later.id, "ensemble"))
    assert together.seeds == {"member:b": 5, "ensemble": 4}
    service.close()
    service = house.service()
    stored = service.history.find(ALICE, later.id)
    assert (texts(stored), stored.seeds) == (texts(later), {"member:b": 5})
    again = ended(service.rerun(ALICE, later.id))
    assert texts(again) == texts(later)


def test_a_stopped_answer_goes_on_and_loses_no_word(house: House) -> None:
    service = house.service(slow_models(0.02))
    whole = answer(service, max_new_tokens=24)
    run = begun(service.start(ALICE, whole.prompt, {**SHORT, "max_new_tokens": 24}), 4)
    service.stop(ALICE, run.id)
    said = texts(ended(run))
    assert said["ensemble"] != texts(whole)["ensemble"]

    on = service.extend(ALICE, run.id, "ensemble")
    assert on.streams["ensemble"].text == said["ensemble"], "its words are there at once"
    service.stop(ALICE, on.id)
    assert texts(ended(on))["ensemble"].startswith(said["ensemble"])
    assert texts(on)["member:a"] == said["member:a"], "one answer goes on, the others are kept"

    end = ended(service.extend(ALICE, on.id))
    assert texts(end) == texts(whole)
    assert end.settings == whole.settings


def test_figures_are_of_what_was_decoded(house: House, tmp_path: Path) -> None:
    """Also of a stored run, an imported one, the member's chips, and the facts of a vote."""
    delay_s = 0.02
    service = house.service(slow_models(delay_s))
    run = answer(service)
    longer = ended(service.extend(ALICE, run.id))
    stored = house.service().history.find(ALICE, longer.id)
    with closing(Store(database_in(tmp_path / "other.db"))) as other:
        [line] = [line for line in house.store().export() if line["run_id"] == longer.id]
        other.import_records([line], []).result()
        [imported] = other.export()
    assert [one["num_replayed"] for one in line["answers"]] == [10, 10, 10]
    assert imported["answers"] == line["answers"]

    for view in (longer, stored):
        for stream in view.streams.values():
            end = stream.finished
            assert end is not None
            assert (end.num_tokens, end.num_replayed, end.num_decoded) == (20, 10, 10)
            assert end.ttft_s >= delay_s
            assert 0 < end.tokens_per_s <= 1 / delay_s
            assert side_facts([stream], 0)["ms_per_token"] >= 1000 * delay_s
    speeds = service.member_speeds()
    assert set(speeds) == {"a", "b"}
    assert all(0 < speed <= 1 / delay_s for speed in speeds.values())


def test_the_run_beside_differs_in_its_settings_alone(house: House) -> None:
    service, others = house.service(), house.service([FakeModel("a", 1)])
    run = answer(service)
    for prompt, changes, is_beside in (
        (run.prompt, {"seed": 4}, True),
        (run.prompt, {"max_new_tokens": 7}, False),
        ("Other?", {"seed": 4}, False),
    ):
        other = ended(service.revise(ALICE, run.id, prompt, {**SHORT, **changes}))
        assert service.history.run_beside(ALICE, other) is (run if is_beside else None)
    of_others = ended(others.revise(ALICE, run.id, run.prompt, {**SHORT, "seed": 4}))
    assert others.history.run_beside(ALICE, of_others) is None
