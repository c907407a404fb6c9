"""Distributions stay on the device that computed them: what is copied of a step, and that the answer is the CPU's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gac_app.config import Config
from gac_app.decoding.distribution.token_distribution import NUM_TOP
from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.member import InlineMember
from gac_app.decoding.trace import TokenEvent
from gac_app.models.random_model import RandomModel, make_vocabulary
from gac_app.vocab.mapping import VocabMapping
from gac_app.vocab.union import UnionVocabulary
from tests.decoding.other_device import Copies, DeviceModel, noted

FEW = 1024  # values that are copied at most
WORDS = [f" {index:x}".encode() for index in range(5000)]


def make(kind: type[RandomModel], **settings: object) -> Ensemble:
    """Two members, each on a device of its own."""
    models = []
    for index, name in enumerate("ab"):
        few = make_vocabulary(index)
        words = [word for word in WORDS if word not in few.texts()]
        larger = replace(few, token_bytes=(*few.token_bytes, *words))
        options = {"index": index} if kind is DeviceModel else {}
        models.append(kind(name, index, vocabulary=larger, sharpness=8.0, **options))
    union = UnionVocabulary.build(model.vocabulary for model in models)
    assert len(union) > 4 * FEW
    members = [{"name": model.name, "source": "random:0"} for model in models]
    config = Config.model_validate({"members": members, "settings": {"max_new_tokens": 24, **settings}})
    return Ensemble([InlineMember(model, VocabMapping(model.vocabulary, union)) for model in models], config)


def answers(**settings: object) -> tuple[list[TokenEvent], list[TokenEvent], list[Copies]]:
    """Of the CPU, of two other devices, and what was copied for each token of the latter."""
    expected = [event for event in make(RandomModel, **settings).generate("Hello") if isinstance(event, TokenEvent)]
    found, copied = [], []
    with noted() as copies:
        ensemble = make(DeviceModel, **settings)
        copies.clear()
        for event in ensemble.generate("Hello"):
            if isinstance(event, TokenEvent):
                found.append(event)
                copied.append(Copies(list(copies.to_host), list(copies.to_device), list(copies.across)))
            copies.clear()
    assert found
    return expected, found, copied


SAMPLED = {"temperature": 0.8, "seed": 3}


@pytest.mark.parametrize(
    "settings",
    [
        {"mode": "every-step", "alignment": "prefix"},
        {"mode": "every-step", "alignment": "paper", **SAMPLED},
        {"mode": "gate", "alignment": "paper", **SAMPLED, "top_p": 0.9},
        {"mode": "gate", "alignment": "prefix", **SAMPLED, "top_k": 5, "min_p": 0.1},
        {"mode": "gate", "alignment": "prefix", **SAMPLED, "threshold": 0.0},
    ],
    ids=str,
)
def test_no_vocabulary_is_copied_to_the_host(settings: dict[str, object]) -> None:
    expected, found, copied = answers(**settings)
    assert [(event.text, event.step.token_id, event.step.winner) for event in found] == [
        (event.text, event.step.token_id, event.step.winner) for event in expected
    ]
    assert all(max(copies.to_host + copies.to_device, default=0) <= FEW for copies in copied)


@pytest.mark.parametrize("alignment", ["prefix", "paper"])
def test_a_greedy_mean_copies_no_vocabulary_between_devices(alignment: str) -> None:
    _, _, copied = answers(mode="every-step", alignment=alignment)
    assert copied
    is_sure = [not copies.across for copies in copied]
    assert sum(is_sure) > 0.8 * len(is_sure), "where two tokens are about equally likely, all are looked at"


def test_a_step_of_the_gate_alone_copies_its_top() -> None:
    _, found, copied = answers(mode="gate", threshold=0.0, alignment="paper")
    assert not any(event.step.is_ensembled for event in found)
    # Ids and probabilities. Before the first step the other member has read the prompt; after the last nothing is read.
    assert {tuple(copies.to_host) for copies in copied[1:-1]} == {(NUM_TOP, NUM_TOP)}
