"""Members' states in words."""

from __future__ import annotations

import pytest

from gac_app.member_config import MemberConfig
from gac_app.models.base import ModelFacts
from gac_app.models.random_model import RandomModel
from gac_app.services.members import MemberState, facts_of
from tests.services.house import House, answer


@pytest.mark.parametrize(
    ("bytes_per_s", "left_s", "words"),
    [
        (None, None, "fetching 42 %"),
        (12_340_000.0, 24.6, "fetching 42 % · 12 MB/s · 25 s left"),
        (1_250_000_000.0, 0.0, "fetching 42 % · 1.2 GB/s · 0 s left"),
        (350_400.0, 200.0, "fetching 42 % · 350 kB/s · 3 min left"),
        (800.0, 4_790.0, "fetching 42 % · 800 B/s · 1 h 20 min left"),
        (800.0, None, "fetching 42 % · 800 B/s"),
        (1e9, 60.0, "fetching 42 % · 1.0 GB/s · 1 min left"),
        (1e4, 59.0, "fetching 42 % · 10 kB/s · 59 s left"),
        (9.0, 3_600.0, "fetching 42 % · 9 B/s · 1 h 0 min left"),
    ],
)
def test_a_download_in_words(bytes_per_s: float | None, left_s: float | None, words: str) -> None:
    state = MemberState("a", "fetching", progress=0.429, bytes_per_s=bytes_per_s, left_s=left_s)
    assert state.words == words


def test_other_phases_in_words() -> None:
    assert MemberState("a", "fetching").words == "fetching"
    assert MemberState("a", "loading").words == "loading"


def test_a_card_says_what_is_known_and_nothing_else() -> None:
    model = RandomModel("a", 1, context_length=4096)
    model.about = ModelFacts(family="llama", size="135M", licence="apache-2.0")
    facts = facts_of(MemberConfig(name="a", source="random:1"), model)
    told = {fact.label: fact.text for fact in facts}
    assert (told["Family"], told["Size"]) == ("llama", "135M")
    assert (told["Licence"], told["Context"], told["Back end"]) == ("apache-2.0", "4,096 tokens", model.engine)
    assert "Quantisation" not in told
    counted = MemberConfig(name="a", source="random:1", num_params=494e6, notice="Some terms.")
    assert facts_of(counted, RandomModel("a", 1))[0].text == "494 M parameters"
    assert "Some terms." in [fact.text for fact in facts_of(counted, RandomModel("a", 1))]
    told = {fact.label: fact.text for fact in facts_of(counted, model)}
    assert told["Licence"] == "apache-2.0", "the files' own word goes before ours"
    told = {fact.label: fact.text for fact in facts_of(MemberConfig(name="a", source="random:1"), RandomModel("a", 1))}
    assert told["Licence"] == "its files do not say; see the model's page"


def test_the_cost_of_a_member_is_that_of_the_last_run(house: House) -> None:
    service = house.service()
    assert service.member_speeds() == {}
    answer(service, "Go on")
    assert set(service.member_speeds()) == {"a", "b"}
