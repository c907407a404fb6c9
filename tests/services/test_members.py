"""Members' states in words."""

from __future__ import annotations

from contextlib import closing

import pytest

from gac_app.errors import GacError
from gac_app.member_config import MemberConfig
from gac_app.models.base import ModelFacts
from gac_app.models.chat import ChatFormat
from gac_app.models.random_model import RandomModel
from gac_app.models.sequence import LOCAL
from gac_app.models.sources import Progress
from gac_app.services.members import Members, MemberState, Phase, facts_of, namespace_of
from tests.fakes import WAIT_S, FakeModel, Fault, after, config_of, ensemble_of
from tests.services.house import until


@pytest.mark.parametrize(("bytes_per_s", "left_s", "words"), [
    (None, None, "fetching 42 %"), (12_340_000.0, 24.6, "fetching 42 % · 12 MB/s · 25 s left"),
    (1_250_000_000.0, 0.0, "fetching 42 % · 1.2 GB/s · 0 s left"),
    (350_400.0, 200.0, "fetching 42 % · 350 kB/s · 3 min left"),
    (800.0, 4_790.0, "fetching 42 % · 800 B/s · 1 h 20 min left"), (800.0, None, "fetching 42 % · 800 B/s"),
    (1e9, 60.0, "fetching 42 % · 1.0 GB/s · 1 min left"), (1e4, 59.0, "fetching 42 % · 10 kB/s · 59 s left"),
    (9.0, 3_600.0, "fetching 42 % · 9 B/s · 1 h 0 min left"),
])  # fmt: skip
def test_a_download_in_words(bytes_per_s: float | None, left_s: float | None, words: str) -> None:
    state = MemberState("a", "fetching", progress=0.429, bytes_per_s=bytes_per_s, left_s=left_s)
    assert state.words == words
    assert [MemberState("a", phase).words for phase in ("fetching", "loading")] == ["fetching", "loading"]


def test_a_card_says_what_is_known_and_nothing_else() -> None:
    view = MemberConfig(name="terse", source="random:1", of="a", system_prompt="Be terse.")
    [kind, *_] = facts_of(view, RandomModel("a"))
    assert (kind.label, kind.text, kind.is_brief) == ("Kind", "view of a", True)
    model = RandomModel("a", 1, context_length=4096)
    model.about = ModelFacts(family="llama", size="135M", licence="apache-2.0")
    told = {fact.label: fact.text for fact in facts_of(MemberConfig(name="a", source="random:1"), model)}
    assert (told["Family"], told["Size"]) == ("llama", "135M")
    assert (told["Licence"], told["Context"], told["Back end"]) == ("apache-2.0", "4,096 tokens", model.engine)
    assert (told["Chats"], "Quantisation" in told) == ("no chat template", False)
    model.chat = ChatFormat("{{ messages }}")
    assert "Chats" not in [fact.label for fact in facts_of(MemberConfig(name="a", source="random:1"), model)]
    counted = MemberConfig(name="a", source="random:1", num_params=494e6, notice="Some terms.")
    assert facts_of(counted, RandomModel("a", 1))[0].text == "494 M parameters"
    assert "Some terms." in [fact.text for fact in facts_of(counted, RandomModel("a", 1))]
    told = {fact.label: fact.text for fact in facts_of(counted, model)}
    assert told["Licence"] == "apache-2.0", "the files' own word goes before ours"
    told = {fact.label: fact.text for fact in facts_of(MemberConfig(name="a", source="random:1"), RandomModel("a", 1))}
    assert told["Licence"] == "its files do not say; see the model's page"


def test_states_of_members_on_their_way() -> None:
    config = config_of(["a", "b", "c"])
    config = config.model_copy(update={"members": (config.members[0].model_copy(update={"notice": "Be kind."}),)})
    members = Members(config)
    assert members.states() == [MemberState("a", notice="Be kind.")]
    members.set_fetching("a", Progress(30, 120, bytes_per_s=9.0))
    assert members.of("a") == MemberState("a", "fetching", 0.25, 9.0, 10.0, notice="Be kind.")
    model = RandomModel("a", 1)
    members.set_ready(config.members[0], model)
    facts = facts_of(config.members[0], model)
    assert members.of("a") == MemberState("a", "ready", detail="cpu", facts=facts, notice="Be kind.")


def test_a_member_is_not_ready_while_it_hangs_in_a_pass() -> None:
    model, config = FakeModel("a", fault=Fault("hang")), config_of(["a"], {"step_timeout_s": 0.05})
    members = Members(config)
    members.set("a", "ready")
    with closing(ensemble_of([model], config)) as ensemble:
        members.use(ensemble)
        reading = ensemble.members["a"].read(after(ensemble.members["a"].open([1], LOCAL)))
        until(lambda: members.states() == [MemberState("a", "failed", detail="hangs: one pass takes more than 0.05 s")])
        model.released.set()
        reading.result(WAIT_S)
        until(lambda: members.states() == [MemberState("a", "ready")])


@pytest.mark.parametrize(
    ("phases", "after"),
    [
        ({"a": "ready", "b": "failed", "c": "loading"}, {"a": "ready", "b": "its own", "c": "all"}),
        ({"a": "ready", "b": "loading", "c": "waiting"}, {"a": "all", "b": "all", "c": "all"}),
        ({"a": "failed", "b": "failed", "c": "fetching"}, {"a": "its own", "b": "its own", "c": "all"}),
    ],
)
def test_a_failure_marks_those_that_are_not_fine(phases: dict[str, Phase], after: dict[str, str]) -> None:
    members = Members(config_of(list(phases)))
    for name, phase in phases.items():
        members.set(name, phase, detail="its own" if phase == "failed" else "")
    members.set_failed("all")
    assert {s.name: s.detail if s.phase == "failed" else s.phase for s in members.states()} == after
    with pytest.raises(GacError, match=f"^{min(n for n, d in after.items() if d != 'ready')} could not be loaded: "):
        members.ensemble()


def test_without_an_ensemble_there_is_nothing_to_ask() -> None:
    members = Members(config_of(["a"]))
    assert (members.are_ready, members.kept()) == (False, {})
    members.forget("owner")
    members.close()
    with pytest.raises(GacError, match="still loading"):
        members.ensemble()


def test_namespaces_are_of_a_conversation_or_of_all() -> None:
    assert (namespace_of("ann", "c1"), namespace_of("ann", "")) == ("ann/c1", "ann")
