"""Systems by name, and runs of an asker: no model runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from gac_app.errors import NotFoundError, RequestError
from gac_app.models.message import Message
from gac_app.services.completions.completion_run import CompletionRun, Document, Question
from gac_app.services.completions.completions import Asker, Completions
from gac_app.services.completions.systems import System, Systems
from gac_app.services.runs.runs import RunService
from gac_app.settings import Settings
from tests.fakes import config_of

CONFIG = config_of(
    ["a", "gac/gate"],
    {"seed": 3, "mode": "every-step"},
    arena={"contestants": [{"name": "bold", "settings": {"temperature": 1.0}}, {"name": "alone", "member": "a"}]},
)
ALICE = "a" * 64
HI = (Message("user", "Hi"),)


def test_systems_are_the_ensemble_its_modes_and_members() -> None:
    systems = Systems(CONFIG)
    assert systems.names == ("gac", "gac/gate", "gac/every-step", "gac/agreement", "gac/bold", "a")
    assert systems.find("gac") == System("gac", None, CONFIG.settings)
    assert systems.find("gac/agreement").settings == CONFIG.settings.model_copy(update={"mode": "agreement"})
    assert systems.find("gac/bold").settings == CONFIG.settings.model_copy(update={"temperature": 1.0})
    assert systems.find("gac/gate") == System("gac/gate", "gac/gate", CONFIG.settings), "a member's name is its own"
    with pytest.raises(NotFoundError, match="no such model; expected one of gac, gac/gate"):
        systems.find("gpt")


def question(**changes: Any) -> Question:
    fields: dict[str, Any] = {
        "system": System("a", "a", CONFIG.settings),
        "settings": Settings(seed=7),
        "prompts": (HI, Document("text")),
        "num_choices": 2,
    }
    return Question(**{**fields, **changes})


# --- runs of an asker


class Runs:
    """A service that takes runs, and ends them when a test says so."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.config, self.config_hash = CONFIG, "c"
        self.members = SimpleNamespace(ensemble=lambda: None, are_ready=False)
        self.companions: list[Any] = []
        self.halted: list[Any] = []
        self.refuses = refuses

    def carry_out(self, run: CompletionRun, *, on_taken: Any, on_ended: Any) -> None:
        if self.refuses:
            raise RequestError("prompt", "is too long")
        on_taken()

    def halt(self, run: CompletionRun) -> None:
        self.halted.append(run)


def asker(key: str = ALICE, max_at_once: int | None = None) -> Asker:
    return Asker(visitor_key=key, client="office", max_at_once=max_at_once)


def test_what_is_refused_counts_no_more() -> None:
    runs = Runs(refuses=True)
    completions = Completions(cast("RunService", runs))
    for _ in range(2):
        with pytest.raises(RequestError, match="is too long"):
            completions.start(question(), asker(max_at_once=1))
    completions.close()
    assert runs.halted == []


def test_a_system_has_the_room_of_its_smallest_member() -> None:
    runs = Runs()
    loading = Completions(cast("RunService", runs))
    assert loading.context_length(System("a", "a", CONFIG.settings)) is None
    lengths = {"a": 9, "gac/gate": 5}
    members = {name: SimpleNamespace(model=SimpleNamespace(context_length=num)) for name, num in lengths.items()}
    runs.members = SimpleNamespace(ensemble=lambda: SimpleNamespace(members=members), are_ready=True)
    completions = Completions(cast("RunService", runs))
    found = {name: completions.context_length(completions.systems.find(name)) for name in ("gac", "a", "gac/gate")}
    assert found == {"gac": 5, **lengths}
