"""What a registered study chooses: by the development half alone, and of equals the cheapest."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.rules import gate_rules
from gac_app.decoding.trace.events import Event, FinishedEvent, FinishReason
from gac_app.evaluation.registered import Protocol, StudyRun
from gac_app.evaluation.registered.protocol import Part, parts_of
from gac_app.settings import Settings
from tests.evaluation.fakes import CONFIG, FakeEnsemble

TASKS = ("triviaqa", "nq")
# Of each system: on which half it is right, and how many of its four steps ask all members.
PLANNED = {
    "a": ("first", 0),
    "b": ("last", 0),
    1.0: ("last", 4),
    0.8: ("first", 3),
    0.2: ("first", 1),
    0.1: ("last", 0),
    0.25: ("first", 1),  # by chance as often as the sparing setting
    0.0: ("last", 0),
}


class Planned(FakeEnsemble):
    """Every system is right on one half of the questions; a setting is known by its threshold."""

    parts: list[Part]

    def generate(
        self, prompt: str, settings: Settings, *, alone: str | None, **how: Any
    ) -> Generator[Event, None, None]:
        half, num_ensembled = PLANNED[alone or settings.threshold]
        asked = [one for part in self.parts for one in (part.development if half == "first" else part.held_out)]
        is_right = any(f"{question.question}\n" in prompt or f"{question.question}?\n" in prompt for question in asked)
        yield FinishedEvent(
            FinishReason.STOP, "white" if is_right else "red", 4, num_ensembled, ttft_s=0.5, seconds=2.0, members={}
        )


@pytest.mark.parametrize("sparing", [0.8, 0.1])
def test_the_cheapest_of_the_best_on_the_first_half_is_chosen(sparing: float, tmp_path: Path) -> None:
    """On the held-out half, other settings and another member are best."""
    tasks = []
    for name in TASKS:
        lines = [f'{{"question": "{name} {n}", "answers": ["white"]}}' for n in range(8)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
        tasks.append({"task": name, "data": tmp_path / f"{name}.jsonl"})
    gates = ("gate@1", "gate@0.8", "gate@0.2", "gate@0.1")
    protocol = Protocol.model_validate(
        {"about": "?", "config": tmp_path, "tasks": tasks, "gates": gates, "sparing": sparing, "parallel": 1}
    )
    ensemble = Planned()
    ensemble.parts = parts_of(protocol)
    study = StudyRun(tmp_path / "study.yaml", protocol, CONFIG, tmp_path)
    study.grid = [replace(one, changes={**one.changes, "gate_params": {"of": "a plug-in"}}) for one in study.grid]
    study.measure(cast(Ensemble, ensemble))
    judged = study.run(cast(Ensemble, ensemble), lambda _name, _progress: None)
    assert [(one.chosen.name, one.best.name) for one in judged] == [("gate@0.2", "alone:a")] * 2
    right = {system.name: scored.num_right for one in judged for system, scored in one.held_out.items()}
    assert (right["gate@0.2"], right["alone:a"], right["alone:b"]) == (0, 0, 4), "judged on the other half"
    assert {one.sparing and one.sparing.name for one in judged} == {"gate@0.2" if sparing == 0.8 else "gate@0.1"}
    chance = {one.chance: one.held_out[one.chance].share_ensembled for one in judged if one.chance}
    rules = {(gate_rules.of(one.settings(CONFIG)).rule_name, share) for one, share in chance.items()}
    assert rules == {("random", 0.25 if sparing == 0.8 else 0.0)}
    assert {len(scored.answers) for one in judged for scored in one.timed.values()} == {4}
    assert all(test.comparison.delta <= 0 for test in study.tests(judged) if test.setting.system.name == "gate@0.2")
