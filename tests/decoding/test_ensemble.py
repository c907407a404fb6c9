"""What a session refuses, and branches."""

from __future__ import annotations

import math

import pytest

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.loop.session import Branch
from gac_app.decoding.member import InlineMember
from gac_app.decoding.trace.events import FinishReason, TokenEvent
from gac_app.errors import RequestError
from gac_app.models.message import Message
from gac_app.vocab.mapping import VocabMapping
from gac_app.vocab.union import UnionVocabulary
from tests.decoding.conftest import MakeEnsemble
from tests.fakes import FixedModel, config_of


@pytest.mark.parametrize("prompt", ["", "   \n", [Message("user", " ")]])
def test_a_blank_prompt_is_refused(make_ensemble: MakeEnsemble, prompt: object) -> None:
    with pytest.raises(RequestError, match="prompt: Enter a prompt"):
        make_ensemble(1).session(prompt)


def test_an_empty_document_is_refused_unless_it_is_allowed(make_ensemble: MakeEnsemble) -> None:
    with pytest.raises(RequestError, match="prompt: Enter a prompt"):
        make_ensemble(1).session("", raw=True)


def test_the_winner_has_the_largest_weighted_probability(make_ensemble: MakeEnsemble) -> None:
    ensemble = make_ensemble(1, 2, max_new_tokens=40, mode="every-step", weights={"m1": 2.0, "m2": 1.0})
    steps = [event.step for event in ensemble.generate("the", raw=True) if isinstance(event, TokenEvent)]
    likelier = [step for step in steps if step.members[1].prob > step.members[0].prob]
    assert {step.winner for step in likelier if step.members[1].prob < 2 * step.members[0].prob} == {"m1"}


@pytest.mark.parametrize(("keeps", "text", "prob"), [(False, "aaaa", 0.8), (True, "", 0.6)])
def test_a_control_token_that_is_kept_ends_the_answer(keeps: bool, text: str, prob: float) -> None:
    model = FixedModel("m", {b"a": 0.4, b"": 0.1})
    control = 257
    assert model.vocabulary.token_bytes[control] is None
    assert control not in model.vocabulary.end_ids
    model._logits[control] = math.log(0.5)
    union = UnionVocabulary.build([model.vocabulary])
    members = [InlineMember(model, VocabMapping(model.vocabulary, union, keeps_control=keeps))]
    *steps, end = Ensemble(members, config_of(["m"], {"max_new_tokens": 4})).generate("the", raw=True)
    assert end.text == text
    assert steps[0].step.prob == pytest.approx(prob)
    assert end.reason is (FinishReason.STOP if keeps else FinishReason.LENGTH)


def test_too_long_a_prompt_names_member_limit_and_length(make_ensemble: MakeEnsemble) -> None:
    ensemble = make_ensemble(1, 2, context_length=32)
    with pytest.raises(RequestError, match=r"prompt: is \d+ tokens long for m1, whose context holds 32"):
        ensemble.session("the model " * 40, raw=True)


def test_an_unknown_member_is_refused(make_ensemble: MakeEnsemble) -> None:
    with pytest.raises(RequestError, match="expected one of m1, m2"):
        make_ensemble(1, 2).session("the", alone="m3")


def test_refused_and_unfinished_sessions_hold_no_sequences(make_ensemble: MakeEnsemble) -> None:
    ensemble = make_ensemble(1, 2)
    model = ensemble.members["m1"].model
    num_free = len(model._free_slots)
    events = ensemble.session("the", raw=True).events()
    next(events)
    assert len(model._free_slots) == num_free - 1
    events.close()
    assert len(model._free_slots) == num_free


def test_a_branch_replays_takes_its_token_and_decodes(make_ensemble: MakeEnsemble) -> None:
    ensemble = make_ensemble(1, 2, max_new_tokens=12)
    original = [e.step for e in ensemble.generate("the", raw=True) if isinstance(e, TokenEvent)]
    other = original[4].top[1].token
    session = ensemble.session("the", raw=True, branch=Branch(tuple(original[:4]), other))
    steps = [event.step for event in session.events() if isinstance(event, TokenEvent)]
    assert [step.token for step in steps[:5]] == [*(step.token for step in original[:4]), other]
    assert [step.is_forced for step in steps] == [True] * 5 + [False] * (len(steps) - 5)
    assert steps[4].prob == pytest.approx(original[4].top[1].prob)
    # From there on it is what a prompt ending in those bytes would give.
    written = b"the" + b"".join(step.token for step in steps[:5])
    for context in session.contexts.values():  # which their tokenisers would cut just so
        spelt = tuple(context.member.mapping.vocabulary.encode(written.decode()))
        assert spelt == context.reads.sequence.ids[: len(spelt)]
    again = ensemble.generate(written.decode(), ensemble.config.settings_from({"max_new_tokens": 7}), raw=True)
    assert [event.step.token for event in again if isinstance(event, TokenEvent)] == [step.token for step in steps[5:]]


def test_a_branch_of_other_members_is_refused(make_ensemble: MakeEnsemble) -> None:
    with pytest.raises(RequestError, match="do not know"):
        make_ensemble(1).check_branch(Branch((), b"no such token"))


@pytest.mark.parametrize("alignment", ["paper", "prefix"])
def test_a_member_without_weight_is_not_asked(make_ensemble: MakeEnsemble, alignment: str) -> None:
    how = {"alignment": alignment, "max_new_tokens": 12}
    three, two = make_ensemble(1, 2, 3), make_ensemble(1, 2, 3)
    del two.members["m3"]
    settings = three.config.settings_from({**how, "mode": "every-step", "weights": {"m1": 1, "m2": 1}})
    answers = [list(ensemble.generate("the", settings, raw=True))[-1] for ensemble in (three, two)]
    assert answers[0].text == answers[1].text
    assert list(answers[0].members) == ["m1", "m2"]
    alone = three.config.settings_from({**how, "mode": "every-step", "weights": {"m2": 1}})
    finished = list(three.generate("the", alone, raw=True))[-1]
    assert finished.text == list(three.generate("the", alone, alone="m2", raw=True))[-1].text
    gated = three.config.settings_from({**how, "mode": "gate", "threshold": 0.9, "weights": {"m2": 1}})
    assert list(list(three.generate("the", gated, raw=True))[-1].members) == ["m1", "m2"]
