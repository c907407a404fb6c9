"""What more members gain, worked by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from gac_app.errors import RequestError
from gac_app.evaluation.running import Graded
from gac_app.evaluation.studies import Evaluator
from gac_app.evaluation.studies.members import Members, plan_scaling
from gac_app.evaluation.tasks import Question
from tests.evaluation.fakes import CAPITALS, PlannedAsk, marked
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
    right = {"alone:a": "x...", "alone:b": "xx..", "alone:c": "xxxx"}

    def answers(name: str, _: Sequence[Question]) -> list[Graded]:
        return marked(right.get(name, "xxx."))

    ask: Any = PlannedAsk(answers, config_of(["a", "b", "c"]))
    data = Members().run(cast(Evaluator, ask), CAPITALS).data
    gains = {" ".join(one["members"]): one["vs_best_own"] and one["vs_best_own"]["delta"] for one in data["choices"]}
    assert gains == {"a": None, "b": None, "c": None, "a b": 0.25, "a c": -0.25, "b c": -0.25, "a b c": -0.25}
    assert data["by_number"]["1"] == {"mean": pytest.approx(7 / 12), "best": 1.0, "worst": 0.25}
