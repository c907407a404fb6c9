"""What more members gain, worked by hand."""

from __future__ import annotations

import pytest

from gac_app.errors import RequestError
from gac_app.evaluation.studies.members import plan_scaling
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
