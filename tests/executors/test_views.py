"""A view is another prompt for a member's model: same weights, same batches, same prefix cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from gac_app.config import Config
from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.member import InlineMember
from gac_app.decoding.trace import FinishedEvent, FinishReason
from gac_app.decoding.view import ViewMember
from gac_app.executors.members import in_background
from gac_app.executors.threads import ThreadMember
from gac_app.loading import unite
from gac_app.models.message import Message
from tests.fakes import WAIT_S, FakeModel, steps_and_end
from tests.services.house import until

LONG = "You answer briefly, and never in verse. "
EXAMPLES = [{"question": "One?", "answer": "1"}, {"question": "Two?", "answer": "2"}]
VIEWS = [{"name": "terse", "of": "a", "system_prompt": LONG}, {"name": "shown", "of": "a", "examples": EXAMPLES}]


def config_with(*views: dict[str, object], **settings: object) -> Config:
    members = [{"name": "a", "source": "random:1", "max_sequences": 12}, *views]
    base = {"mode": "every-step", "temperature": 0, "max_new_tokens": 8, **settings}
    return Config.model_validate({"members": members, "settings": base})


def ensemble_of(model: FakeModel, config: Config) -> Ensemble:
    return unite([model], config, ThreadMember, devices_disjoint=False)


@pytest.fixture
def model() -> FakeModel:
    return FakeModel("a", 1)


@pytest.fixture
def ensemble(model: FakeModel) -> Iterator[Ensemble]:
    with closing(ensemble_of(model, config_with(*VIEWS))) as ensemble:
        yield ensemble


def finished_of(ensemble: Ensemble, prompt: str = "Say it.", **how: object) -> FinishedEvent:
    return steps_and_end(ensemble.generate(prompt, **how))[1]  # type: ignore[arg-type]


def text_of(ensemble: Ensemble, name: str, prompt: str | list[Message]) -> str:
    member = ensemble.members[name]
    return member.mapping.vocabulary.decode(member.encode(prompt)).decode()


def test_a_chat_begins_with_what_the_view_adds(ensemble: Ensemble) -> None:
    asked = [Message("system", "Be kind."), Message("user", "Three?")]
    assert text_of(ensemble, "a", asked) == "Be kind.\n\nUser: Three?\nAssistant:"
    assert text_of(ensemble, "terse", asked) == f"{LONG.strip()}\n\nBe kind.\n\nUser: Three?\nAssistant:"
    turns = "User: One?\nAssistant: 1\nUser: Two?\nAssistant: 2\nUser: Three?\nAssistant:"
    assert text_of(ensemble, "shown", asked[1:]) == turns


def test_a_document_begins_with_what_the_view_adds(ensemble: Ensemble) -> None:
    assert text_of(ensemble, "terse", "Once") == f"{LONG.strip()}\n\nOnce"
    assert text_of(ensemble, "shown", "Once") == "Question: One?\nAnswer: 1\n\nQuestion: Two?\nAnswer: 2\n\nOnce"


def test_an_answer_of_views_is_that_of_such_members(ensemble: Ensemble) -> None:
    """Each alone continues what it was shown; together, all take part in every step."""
    plain = finished_of(ensemble, alone="a", prompt=f"{LONG.strip()}\n\nSay it.", raw=True)
    assert finished_of(ensemble, alone="terse", raw=True).text == plain.text != finished_of(ensemble, raw=True).text
    steps, _ = steps_and_end(ensemble.generate("Say it."))
    assert all([m.member for m in step.members] == ["a", "terse", "shown"] for step in steps)


def test_the_steps_of_views_share_a_forward_pass() -> None:
    model = FakeModel("a", 1, delay_s=0.02)
    with closing(ensemble_of(model, config_with(*VIEWS, max_new_tokens=40))) as ensemble:
        finished = finished_of(ensemble)
        assert finished.reason is FinishReason.LENGTH
        assert model.batches.count(3) > 20
        assert sum(model.batches) == sum(usage.num_forwards for usage in finished.members.values())


def test_the_base_has_room_for_its_views() -> None:
    [loaded] = config_with(*VIEWS).loaded
    assert (loaded.name, loaded.max_sequences) == ("a", 36)


def test_a_view_keeps_nothing_without_a_conversation(ensemble: Ensemble, model: FakeModel) -> None:
    kept = list[int]()
    for prompt in ("Say it.", "And once more, please."):
        finished_of(ensemble, prompt)
        until(lambda: model.num_held == ensemble.members["a"].kept.num_sequences, "until no answer's sequence is left")
        kept.append(ensemble.members["a"].kept.num_ids)
    assert kept[0] == kept[1], "what the views add, whatever was asked"


def test_what_a_view_adds_is_read_once(ensemble: Ensemble, model: FakeModel) -> None:
    finished_of(ensemble, alone="terse")
    before = len(model.num_read_at_once)
    finished_of(ensemble, alone="terse", prompt="And once more, please.")
    assert model.num_read_at_once[before] < len(ensemble.members["terse"].encode([Message("user", LONG)])) - 20


def test_a_conversation_of_a_view_is_continued_and_forgotten(ensemble: Ensemble, model: FakeModel) -> None:
    first = finished_of(ensemble, alone="terse", namespace="me/talk")
    turns = [Message("user", "Say it."), Message("assistant", first.text), Message("user", "And?")]
    before = len(model.num_read_at_once)
    finished_of(ensemble, alone="terse", prompt=turns, namespace="me/talk")  # type: ignore[arg-type]
    assert model.num_read_at_once[before] < 30
    member = ensemble.members["a"]
    assert isinstance(member, ThreadMember)
    until(lambda: member.kept.num_ids, "for the talk to be kept")
    ensemble.forget("me")
    until(lambda: not member.kept.num_ids)


def test_a_view_of_a_failed_member_does_not_mend_it() -> None:
    config = config_with(*VIEWS)
    base = unite([FakeModel("a", 1)], config, InlineMember, devices_disjoint=False).members["a"]
    base.failure = "gone"
    assert ViewMember(base, config.members[1]).why_unready(WAIT_S) == base.failure == "gone"


def test_a_view_without_room_fails_as_itself() -> None:
    """Its prompt is weighed in a sequence of its own."""
    config = config_with(*VIEWS, weights="prompt-perplexity", members=["terse", "shown"])
    ensemble = unite([FakeModel("a", 1, max_sequences=2)], config, InlineMember, devices_disjoint=False)
    assert finished_of(ensemble).detail.startswith("terse: holds as many sequences as it can")


def test_views_of_a_study_are_stopped_with_their_member(ensemble: Ensemble) -> None:
    study, stop = in_background(ensemble)
    assert finished_of(study).text == finished_of(ensemble).text
    stop()
    assert finished_of(study, alone="terse").reason is FinishReason.ERROR
    assert finished_of(ensemble, alone="terse").reason is FinishReason.LENGTH
