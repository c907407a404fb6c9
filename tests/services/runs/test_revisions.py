"""Runs in the place of earlier ones: revised, one answer anew, gone on beyond the limit."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from gac_app.decoding.trace.events import FinishReason
from gac_app.errors import NotFoundError, RequestError
from gac_app.services.battles.records import side_facts
from gac_app.services.runs.revisions import extended
from gac_app.services.runs.runs import RunService
from gac_app.storage import Store
from gac_app.ui.compare.records import RunLines
from tests.databases import database_in
from tests.fakes import FakeModel, config_of
from tests.services.house import ALICE, BOB, SHORT, House, answer, begun, end_of, ended, slow_models, texts
from tests.ui.spy import lines_of


def test_a_revised_prompt_takes_the_run_s_place(service: RunService) -> None:
    first = answer(service, "First?")
    second = ended(service.start(ALICE, "Secnod?", SHORT, first.conversation_id))
    again = ended(service.revise(ALICE, second.id, "Second?", SHORT))
    third = ended(service.start(ALICE, "Third?", SHORT, first.conversation_id))
    expected = (second.id, None, first.conversation_id)
    assert (again.parent_run_id, again.branch_position, again.conversation_id) == expected
    asked = [message.content for message in third.streams["ensemble"].messages if message.role == "user"]
    assert asked == ["First?", "Second?", "Third?"]


def test_a_comparison_has_other_settings(service: RunService, monkeypatch: pytest.MonkeyPatch) -> None:
    run = answer(service)
    with pytest.raises(RequestError, match="are the settings of this run"):
        service.compare(ALICE, run.id, {"max_new_tokens": 11})
    other = ended(service.compare(ALICE, run.id, {**SHORT, "mode": "every-step"}))
    assert service.history.run_beside(ALICE, other) is run
    other = ended(service.extend(ALICE, ended(service.regenerate(ALICE, other.id, "ensemble")).id))
    assert service.history.run_beside(ALICE, other) is run, "also of what goes on, or is written anew"
    monkeypatch.setattr("gac_app.services.runs.history.MOST_CONTINUED", 2)
    assert service.history.run_beside(ALICE, other) is None, "no open page reads a chain of any length"
    third = ended(service.start(ALICE, "And then?", SHORT, run.conversation_id))
    assert [message.content for message in third.streams["member:a"].messages][1] == texts(other)["ensemble"]


def test_a_branch_is_compared_with_no_settings(service: RunService) -> None:
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
    assert ended(service.regenerate(ALICE, later.id, "ensemble")).seeds == {"member:b": 5, "ensemble": 4}
    service.close()
    service = house.service()
    stored = service.history.find(ALICE, later.id)
    assert (texts(stored), stored.seeds) == (texts(later), {"member:b": 5})
    assert ended(service.regenerate(ALICE, run.id, "member:b")).seeds == {"member:b": 6}, "none is written twice"
    assert texts(ended(service.rerun(ALICE, later.id))) == texts(later)
    assert ended(service.extend(ALICE, later.id)).seeds == later.seeds
    others = house.service([FakeModel("a", 1)])
    for again in (others.regenerate, others.extend):
        with pytest.raises(RequestError, match="no longer has the model"):
            again(ALICE, run.id, "member:b")


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


def test_each_answer_goes_on_to_its_own_limit(service: RunService) -> None:
    run, ensemble = answer(service), service.members.ensemble()
    stopped = run.streams["member:a"]
    stopped.events[-1] = replace(end_of(stopped), reason=FinishReason.ABORT)
    limits = {key: extended(run, ensemble, key).settings.max_new_tokens for key in ("ensemble", "member:a", "")}
    assert limits == {"ensemble": 20, "member:a": 10, "": 20}, "whatever the others reached"
    longer = ended(service.extend(ALICE, run.id, "ensemble"))
    ends = [line["end"][1] for line in lines_of(RunLines(longer).value()) if isinstance(line, dict) and "end" in line]
    assert ends[2]["detail"] == "", "it was cut, as the page says"
    assert extended(longer, ensemble, "member:b").settings.max_new_tokens == 20


def test_figures_are_of_what_was_decoded(house: House, tmp_path: Path) -> None:
    """Also of a stored run, an imported one, the member's chips, and the facts of a vote."""
    delay_s = 0.02
    service = house.service(slow_models(delay_s))
    longer = ended(service.extend(ALICE, answer(service).id))
    stored = house.service().history.find(ALICE, longer.id)
    with closing(Store(database_in(tmp_path / "other.db"))) as other:
        [line] = [line for line in house.store().export() if line["run_id"] == longer.id]
        other.import_records([line], []).result()
        [imported] = other.export()
    assert [one["num_replayed"] for one in line["answers"]] == [10, 10, 10]
    assert imported["answers"] == line["answers"]
    for view in (longer, stored):
        for stream in view.streams.values():
            end = end_of(stream)
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


def test_what_cannot_be_the_same_again_is_not_compared(house: House) -> None:
    service, others = house.service(), house.service([FakeModel("a", 1)])
    first = answer(service, mode="every-step")
    branch = ended(service.branch(ALICE, first.id, 0, first.streams["ensemble"].steps[0].top[1].token_id))
    assert service.history.run_before(ALICE, ended(service.rerun(ALICE, branch.id))) is None
    assert others.history.run_before(ALICE, ended(others.rerun(ALICE, first.id))) is None
    second = ended(service.start(ALICE, "Second?", SHORT, first.conversation_id))
    again = ended(service.rerun(ALICE, second.id))
    assert service.history.run_before(ALICE, again) is second
    service.history.delete_runs(ALICE, [branch.id])
    assert service.history.run_before(ALICE, again) is None, "it has lost a turn"


@pytest.mark.parametrize("kind", ["again", "branch", "revised"])
def test_a_shared_run_does_not_tell_where_it_came_from(service: RunService, kind: str) -> None:
    first = answer(service, mode="every-step")
    token = first.streams["ensemble"].steps[0].top[1].token_id
    run = ended(
        {
            "again": lambda: service.rerun(ALICE, first.id),
            "branch": lambda: service.branch(ALICE, first.id, 0, token),
            "revised": lambda: service.revise(ALICE, first.id, first.prompt, {**SHORT, "mode": "gate"}),
        }[kind]()
    )
    service.history.share(ALICE, run.id, True)
    own, seen = service.history.look(ALICE, run.id), service.history.look(BOB, run.id)
    assert (own.repeats_run_id if kind == "again" else own.parent_run_id) == first.id
    for view in (seen, service.history.run_before(BOB, own), service.history.run_beside(BOB, own)):
        assert first.id not in repr(view)
    assert first.id not in RunLines(seen).value(is_last=True)


def test_where_sharing_is_off_nothing_is_shared_nor_read(house: House) -> None:
    service = house.service()
    run = answer(service)
    service.history.share(ALICE, run.id, True)
    service.close()
    service = house.service(server={"sharing": False})
    with pytest.raises(NotFoundError):
        service.history.look(BOB, run.id)
    with pytest.raises(RequestError, match="off on this server"):
        service.history.share(ALICE, run.id, True)
    service.history.share(ALICE, run.id, False)


@pytest.mark.parametrize(("server", "public", "is_sharing"), [
    ({}, None, True), ({}, True, False), ({"host": "192.168.1.9"}, None, False), ({"sharing": False}, None, False),
    ({"host": "192.168.1.9"}, False, False), ({"host": "192.168.1.9", "sharing": True}, None, True),
    ({"trusted_hosts": ["localhost", "gac.example.org"]}, None, False),  # behind a proxy
])  # fmt: skip
def test_on_a_public_host_sharing_must_be_configured(server: dict, public: bool | None, is_sharing: bool) -> None:
    assert config_of(["a"], server=server, public=public).is_sharing is is_sharing
