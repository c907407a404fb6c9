"""What more members gain, worked by hand and over random members."""

from __future__ import annotations

import pytest

from gac_app.errors import RequestError
from gac_app.evaluation.running.result_cache import Graded
from gac_app.evaluation.studies.members import accuracies, judge_scaling, plan_scaling, to_json
from tests.fakes import config_of


def test_every_choice_of_members_is_planned_once() -> None:
    plan = plan_scaling(config_of(["a", "b", "c"]), "paper")
    assert {choice: system.name for choice, system in plan.items()} == {
        ("a",): "alone:a",
        ("b",): "alone:b",
        ("c",): "alone:c",
        ("a", "b"): "every-step+w=0.5:0.5:0+paper",
        ("a", "c"): "every-step+w=0.5:0:0.5+paper",
        ("b", "c"): "every-step+w=0:0.5:0.5+paper",
        ("a", "b", "c"): "every-step+paper",
    }


@pytest.mark.parametrize("names", [["a"], list("abcdefg")])
def test_too_few_or_too_many_are_refused(names: list[str]) -> None:
    with pytest.raises(RequestError, match="needs 2 to 6 members"):
        plan_scaling(config_of(names))


def test_a_choice_is_compared_with_the_best_of_its_own_members() -> None:
    plan = plan_scaling(config_of(["a", "b", "c"]))
    right = {"alone:a": "1000", "alone:b": "1100", "alone:c": "1111"}
    answers = {
        system: [Graded(str(i), is_right=bit == "1") for i, bit in enumerate(right.get(system.name, "1110"))]
        for system in plan.values()
    }
    choices = judge_scaling(plan, answers)
    found = {choice.members: choice for choice in choices}
    assert found["a",].vs_best_own is None
    assert found["a", "b"].vs_best_own.delta == pytest.approx(0.25)  # type: ignore[union-attr]
    assert found["a", "c"].vs_best_own.delta == pytest.approx(-0.25)  # type: ignore[union-attr]
    assert list(accuracies(choices)) == [1, 2, 3]
    assert accuracies(choices)[1] == [0.25, 0.5, 1.0]
    by_number = to_json("nq", choices)["by_number"]
    assert by_number["1"] == {"mean": pytest.approx(7 / 12), "best": 1.0, "worst": 0.25}
