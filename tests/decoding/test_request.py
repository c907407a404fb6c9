"""Requests that fit and requests that do not: who takes part, what each member reads, and what is said of the rest."""

from __future__ import annotations

import math
from typing import Any
from unittest.mock import patch

import pytest
import torch

from gac_app.config import MAX_PROMPT_CHARS
from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.member import InlineMember
from gac_app.decoding.request import Encoded, document_start
from gac_app.decoding.trace.events import FinishReason
from gac_app.errors import RequestError, TooLongError, VocabularyError
from gac_app.models.message import Message
from gac_app.models.random_model import RandomModel
from gac_app.settings import Settings
from gac_app.vocab.mapping import VocabMapping
from gac_app.vocab.union import UnionVocabulary
from tests.decoding.conftest import make
from tests.fakes import FakeModel, FixedModel, config_of, ensemble_of
from tests.vocab.vocabularies import vocabulary

HI = [Message("user", "Hi")]


def ensemble(context_length: int = 64, **settings: Any) -> Ensemble:
    models = [FakeModel(name, seed, context_length=context_length) for seed, name in enumerate("abc", 1)]
    return ensemble_of(models, config_of(["a", "b", "c"], settings), InlineMember)


def names(requests: Ensemble, alone: str | None = None, **settings: Any) -> list[str]:
    config = requests.config
    return [m.name for m in requests.request("Hi", config.settings_from(settings), alone=alone).members]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"mode": "every-step"}, ["a", "b", "c"]),
        ({"mode": "gate", "gate": "b"}, ["b", "a", "c"]),
        ({"mode": "every-step", "weights": {"a": 1, "b": 0, "c": 1}}, ["a", "c"]),
        ({"mode": "gate", "gate": "b", "weights": {"a": 1, "b": 0, "c": 1}}, ["b", "a", "c"]),
        ({"mode": "every-step", "gate": "c", "weights": {"a": 1, "b": 0, "c": 1}}, ["c", "a"]),
    ],
)
def test_who_takes_part_the_gate_first(settings: dict[str, Any], expected: list[str]) -> None:
    requests = ensemble()
    assert names(requests, **settings) == expected
    assert names(requests, "b", **settings) == ["b"]
    with pytest.raises(RequestError, match="alone: 'd' is not a member; expected one of a, b, c"):
        names(requests, "d", **settings)
    with pytest.raises(RequestError, match="gate"):  # settings that no configuration has checked
        requests.request("Hi", Settings(gate="nobody", mode="gate"), alone=None)


def test_a_chat_has_the_settings_system_prompt_or_its_own() -> None:
    requests = ensemble()
    brief = requests.config.settings_from({"system_prompt": "Be brief."})
    own = [Message("system", "Be long."), *HI]
    for prompt, settings, expected in (
        ("Hi", None, HI),
        ("Hi", brief, [Message("system", "Be brief."), *HI]),
        (HI, brief, [Message("system", "Be brief."), *HI]),
        (own, brief, own),
    ):
        request = requests.request(prompt, settings, alone=None)
        assert request.prompt == expected
        assert request.ids == [member.encode(expected) for member in request.members]
        assert request.text == "".join(message.content for message in expected)
    assert [Message("user", "Hi")] == HI, "what was given stays as it is"


def test_a_chat_is_tokenised_once_for_all_who_ask_together() -> None:
    one = ensemble()
    known = dict[Any, Any]()
    first = one.request("Hi", None, alone=None, known=known)
    assert set(known) == {(name, tuple(HI)) for name in "abc"}
    kept: Encoded = {(name, tuple(HI)): [7, 8] for name in "abc"}
    again = one.request("Hi", None, alone="b", known=kept)
    assert (again.ids, again.alone) == ([[7, 8]], "b")
    assert again.ids[0] is not kept["b", tuple(HI)]
    first.ids[0].append(5)
    assert known["a", tuple(HI)] == first.ids[0][:-1]
    raw = one.raw_request("Hi", one.config.settings, alone="a", known={("a", "Hi"): [9], ("a", tuple(HI)): [7]})
    assert raw.ids == [[9]]


@pytest.mark.parametrize(
    ("prompt", "raw", "message"),
    [
        ("", False, "prompt: Enter a prompt"),
        (" \n", False, "prompt: Enter a prompt"),
        ("", True, "prompt: Enter a prompt"),
        ([Message("user", " ")], False, "prompt: Enter a prompt"),
        ("x" * 200_001, False, "prompt: 200,001 characters are too many: at most 200,000."),
        ("x" * 200_001, True, "prompt: 200,001 characters"),
        (HI, True, "prompt: a raw prompt is one text, not a chat"),
    ],
)
def test_a_prompt_that_does_not_fit_is_refused(prompt: Any, raw: bool, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        ensemble().request(prompt, None, alone=None, raw=raw)


def test_a_raw_prompt_may_be_blank_and_a_document_empty() -> None:
    one = ensemble()
    assert one.request(" \n", None, alone="a", raw=True).ids == [one.members["a"].encode(" \n")]
    empty = one.request("", None, alone=None, raw=True, may_be_empty=True)
    assert (empty.prompt, empty.ids) == ("", [document_start(member) for member in empty.members])
    ends = [min(member.mapping.vocabulary.end_ids) for member in empty.members]
    assert [ids or [end] for ids, end in zip((m.encode("") for m in empty.members), ends, strict=True)] == empty.ids
    endless = RandomModel("a", vocabulary=vocabulary([b"a"]))
    with pytest.raises(VocabularyError, match="a: has neither a BOS nor an end token"):
        ensemble_of([endless], None, InlineMember).request("", None, alone=None, raw=True, may_be_empty=True)


def test_a_prompt_leaves_room_for_a_token() -> None:
    one = ensemble(context_length=16)
    text = "x" * 64
    longest = next(n for n in range(1, 64) if len(one.members["a"].encode(text[:n])) == 15)
    assert len(one.request(text[:longest], None, alone="a", raw=True).ids[0]) == 15
    longer = next(n for n in range(1, 65) if len(one.members["a"].encode(text[:n])) == 16)
    with pytest.raises(TooLongError, match="prompt: is 16 tokens long for a, whose context holds 16; shorten it"):
        one.request(text[:longer], None, alone="a", raw=True)


def test_a_document_by_ids_is_read_by_every_member() -> None:
    one = ensemble()
    settings = one.config.settings
    union = one.members["a"].mapping.union
    ids = one.tokenizer(None).encode("the end é")
    request = one.raw_request(ids, settings, alone=None)
    assert (request.prompt, request.alone) == ("the end é", None)
    assert request.ids == [member.encode("the end é") for member in request.members]
    alone = one.raw_request([5, 6], settings, alone="b")
    text = one.members["b"].mapping.vocabulary.decode([5, 6]).decode("utf-8", "replace")
    assert (alone.ids, alone.prompt) == ([[5, 6]], text)
    assert one.raw_request([], settings, alone=None).ids == one.raw_request("", settings, alone=None).ids
    with pytest.raises(RequestError, match=f"prompt: {union.end_id} ends an answer, so no prompt can have it"):
        one.raw_request([*ids, union.end_id], settings, alone=None)
    with pytest.raises(RequestError, match="characters are too many"):
        one.raw_request([union.ids[max(union.tokens, key=len)]] * MAX_PROMPT_CHARS, settings, alone=None)
    model = one.members["a"].model
    with patch.object(model, "encode_raw", lambda text: [257, *model.vocabulary.encode(text)]):  # begins with a BOS
        cut = one.raw_request([*ids, union.ids[b"\xc3"]], settings, alone=None)
        assert cut.ids == [[*member.encode("the end é"), 0xC3] for member in cut.members]
    assert cut.text == "the end é\ufffd"


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


def test_a_step_sets_torchs_threads_once_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    ensemble = make(1, 2)
    settings = ensemble.config.settings.model_copy(update={"mode": "every-step", "max_new_tokens": 5})
    num_threads, told = [3], list[int]()

    def note(num: int) -> None:
        num_threads[0] = num
        told.append(num)

    monkeypatch.setattr(torch, "get_num_threads", lambda: num_threads[0])
    monkeypatch.setattr(torch, "set_num_threads", note)
    list(ensemble.generate("the", settings, raw=True))
    assert told == [1, 3] * 5
