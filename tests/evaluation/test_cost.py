"""The study of costs: ratios within rounds, over an ensemble whose answers take planned times."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from gac_app.config import Config
from gac_app.decoding.trace.events import FinishedEvent, FinishReason, MemberUsage
from gac_app.errors import ConfigError, GacError
from gac_app.evaluation.running import StudyProgress
from gac_app.evaluation.studies.cost import Cost
from gac_app.settings import Settings
from tests.fakes import config_of

COMPARED = {
    "every step ÷ slowest member alone": ["0.90", "0.90", "0.90"],
    "gate ÷ slowest member alone": ["1.20", "1.20", "1.20"],
    "drafts ÷ no drafts, every step": ["0.75", "0.75", "0.75"],
}


@dataclass
class PlannedEnsemble:
    """Answers take `ms` a token: by the member alone, else by the mode, with "undrafted" for every step without drafts.

    Args:
        length: of the answers; None = as many as are allowed.
        failing: a member that fails alone.
    """

    ms: dict[str, float] = field(
        default_factory=lambda: {"a": 10.0, "b": 20.0, "every-step": 18.0, "gate": 24.0, "undrafted": 24.0}
    )
    length: int | None = None
    failing: str = ""
    config: Config = field(default_factory=lambda: config_of(["a", "b"]))
    devices_disjoint: bool = True
    asked: list[tuple[str, str]] = field(default_factory=list)

    def generate(self, prompt: str, settings: Settings, *, alone: str | None = None) -> Iterator[FinishedEvent]:
        name = alone or ("undrafted" if settings.speculation == "off" else settings.mode)
        self.asked.append((name, settings.gate_policy))
        num = self.length or settings.max_new_tokens
        reason = FinishReason.LENGTH if num == settings.max_new_tokens else FinishReason.STOP
        if alone and alone == self.failing:
            reason = FinishReason.ERROR
        seconds = 0.1 + (num - 1) * self.ms[name] / 1000
        usage = {"a": MemberUsage(num, num, num * 0.01), "b": MemberUsage(num, num, num * 0.02)}
        yield FinishedEvent(reason, "", num, num // 4, 0.1, seconds, usage, "it broke" if self.failing else "")


def test_ratios_are_taken_to_the_slowest_member() -> None:
    result = Cost(seconds=0.001, tokens=16).run(PlannedEnsemble())  # type: ignore[arg-type]
    ratios, figures = result.tables
    assert {name: found for name, *found in ratios.rows} | COMPARED == {name: found for name, *found in ratios.rows}
    assert ratios.rows[3][0] == "side by side ÷ ensemble alone"
    assert [row[0] for row in figures.rows] == [
        "alone:a", "alone:b", "every step", "gate", "every step, no drafts",
    ]  # fmt: skip
    assert list(figures.rows[2])[1:] == ["18.0", "0.10", "30.0", "25.0%"]
    assert list(figures.rows[0])[-1] == "–"
    assert result.remarks == [
        "Here the ensemble is faster than its slowest member, b: a token takes 0.90 times as long at every step, "
        "and 1.20 times with the gate."
    ]
    assert result.heading == "2 rounds, 16 tokens each"
    assert {row["series"] for row in result.plots[0]["data"]["values"]} == {"alone:b", "every step", "gate"}
    json.dumps(result.data)
    slower = PlannedEnsemble(PlannedEnsemble().ms | {"every-step": 22.0})
    told = Cost(seconds=0.001, tokens=16).run(slower).remarks  # type: ignore[arg-type]
    assert told[0].startswith("Here the ensemble is slower than its slowest member, b")


def test_progress_is_told_answer_by_answer() -> None:
    """Two rounds of five answers; the warm-up and the answers side by side are not counted."""
    told = list[StudyProgress]()
    Cost(seconds=1e-9, tokens=16).run(PlannedEnsemble(), told.append)  # type: ignore[arg-type]
    assert [progress.num_done for progress in told] == list(range(1, 11))
    assert {progress.num_total for progress in told} == {10}
    told.clear()
    Cost(seconds=60, tokens=16).run(PlannedEnsemble(), told.append)  # type: ignore[arg-type]
    assert (told[-1].num_done, told[-1].num_total) == (45, 45)


@pytest.mark.parametrize(("devices_disjoint", "policy"), [(True, "eager"), (False, "lazy")])
def test_the_gate_is_what_one_visitor_has(devices_disjoint: bool, policy: str) -> None:
    """In the Lab `auto` would be lazy everywhere."""
    ensemble = PlannedEnsemble(devices_disjoint=devices_disjoint)
    Cost(seconds=0.001, tokens=16).run(ensemble)  # type: ignore[arg-type]
    assert {how for name, how in ensemble.asked if name == "gate"} == {policy}


def test_what_cannot_be_timed_is_told() -> None:
    with pytest.raises(GacError, match="within 8 tokens"):
        Cost(tokens=16).run(PlannedEnsemble(length=5))  # type: ignore[arg-type]
    with pytest.raises(GacError, match="it broke"):
        Cost(tokens=16).run(PlannedEnsemble(failing="b"))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="two or more"):
        Cost().check(config_of(["a"]))


def test_answers_that_end_early_are_not_put_side_by_side() -> None:
    result = Cost(seconds=0.001, tokens=16).run(PlannedEnsemble(length=12))  # type: ignore[arg-type]
    assert list(result.tables[0].rows[3]) == ["side by side ÷ ensemble alone", "–", "–", "–"]
