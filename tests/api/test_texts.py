"""Continuations of documents, with the probabilities that an evaluation asks for."""

from __future__ import annotations

import math
import threading
from typing import Any

import httpx
import pytest

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.trace import TokenEvent
from gac_app.services.queue.shares import client_of
from tests.api.site import Site, Sites, refusal_of
from tests.fakes import FakeModel, Fault
from tests.services.house import until

TEXT = "the model of all"


def ask(here: Site, **fields: Any) -> httpx.Response:
    return here.ask("text", **{"model": "a", "prompt": TEXT, "max_tokens": 4, **fields})


def choice(here: Site, **fields: Any) -> dict[str, Any]:
    answer = ask(here, **fields)
    assert answer.status_code == 200, answer.text
    [found] = answer.json()["choices"]
    return found  # type: ignore[no-any-return]


def ensemble_of(here: Site) -> Ensemble:
    return here.service.members.ensemble()


def ids_of(here: Site, text: str = TEXT, model: str = "a") -> list[int]:
    answer = here.client.post("/tokenize", json={"model": model, "prompt": text, "add_special_tokens": False})
    return answer.json()["tokens"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("model", ["a", "gac/every-step"])
def test_a_document_goes_on_as_in_the_engine(here: Site, model: str) -> None:
    settings = here.service.config.settings_from({"max_new_tokens": 4, "mode": "every-step"})
    alone = None if model.startswith("gac") else model
    *tokens, end = ensemble_of(here).generate(TEXT, settings, alone=alone, raw=True)
    found = choice(here, model=model, logprobs=2)
    assert (found["text"], found["finish_reason"]) == (end.text, "length")  # type: ignore[union-attr]
    steps = [event.step for event in tokens if isinstance(event, TokenEvent)]
    assert found["logprobs"]["token_logprobs"] == [math.log(step.prob) for step in steps]
    assert all(len(top) in (2, 3) for top in found["logprobs"]["top_logprobs"])


@pytest.mark.parametrize("model", ["a", "gac"])
def test_text_and_ids_are_one_prompt(here: Site, model: str) -> None:
    ids = ids_of(here, model=model)
    asked: list[Any] = [TEXT, ids, [TEXT], [ids]]
    texts = {choice(here, model=model, prompt=prompt, echo=True)["text"] for prompt in asked}
    assert len(texts) == 1
    assert texts.pop().startswith(TEXT)


def test_several_prompts_have_their_choices_in_order(here: Site) -> None:
    answer = ask(here, prompt=["the", "a", "of the model"], n=2, temperature=1.0, seed=3).json()
    assert [one["index"] for one in answer["choices"]] == list(range(6))
    again = ask(here, prompt="a", n=2, temperature=1.0, seed=3).json()
    assert [one["text"] for one in answer["choices"][2:4]] == [one["text"] for one in again["choices"]]
    assert answer["usage"]["prompt_tokens"] == 2 + len(ids_of(here, "of the model")) > 3


@pytest.mark.parametrize("model", ["a", "gac/every-step", "gac/gate"])
@pytest.mark.parametrize("alignment", ["prefix", "paper"])
def test_an_echo_has_one_entry_a_token_and_the_new_one(here: Site, model: str, alignment: str) -> None:
    ids = ids_of(here, model=model)
    fields = {"max_tokens": 1, "logprobs": 1, "echo": True, "gac": {"settings": {"alignment": alignment}}}
    found = choice(here, model=model, prompt=ids, **fields)
    told = found["logprobs"]
    assert {len(values) for values in told.values()} == {len(ids) + 1}
    assert (told["token_logprobs"][0], told["top_logprobs"][0]) == (None, None)
    assert "".join(told["tokens"]) == found["text"]
    assert told["text_offset"] == [len("".join(told["tokens"][:number])) for number in range(len(ids) + 1)]
    for log_prob, top in zip(told["token_logprobs"][1:], told["top_logprobs"][1:], strict=True):
        assert log_prob < 0
        assert log_prob in top.values()
        assert max(top.values()) >= log_prob


@pytest.mark.parametrize("model", ["a", "gac/every-step", "gac/gate"])
def test_what_is_greedy_is_the_likeliest_of_an_echo(here: Site, model: str) -> None:
    options = {"gac": {"settings": {"alignment": "paper"}}}
    steps = choice(here, model=model, max_tokens=6, **options)["gac"]["steps"]
    ids, tokens = ids_of(here, model=model), [bytes(step["bytes"]) for step in steps]
    known = ensemble_of(here).union.ids if model != "a" else dict(map(reversed, enumerate(vocabulary(here))))
    ids += [known[token] for token in tokens]
    told = choice(here, model=model, prompt=ids, max_tokens=1, logprobs=1, echo=True, **options)["logprobs"]
    for log_prob, top, step in zip(told["token_logprobs"][-7:], told["top_logprobs"][-7:], steps, strict=False):
        assert log_prob == max(top.values()) == pytest.approx(math.log(step["prob"]), abs=1e-4)


def vocabulary(here: Site) -> tuple[bytes | None, ...]:
    """Of the member a."""
    return ensemble_of(here).members["a"].mapping.vocabulary.token_bytes


@pytest.mark.parametrize("weights", ["average", "prompt-perplexity"])
@pytest.mark.parametrize("model", ["a", "gac/every-step"])
@pytest.mark.parametrize("alignment", ["prefix", "paper"])
def test_all_that_a_program_asks_is_read_in_its_share(site: Sites, model: str, alignment: str, weights: str) -> None:
    models = [FakeModel("a", 1), FakeModel("b", 2)]
    here = site(models, settings={"alignment": alignment, "weights": weights})
    ask(here, model=model, echo=True, logprobs=2, max_tokens=2).raise_for_status()
    here.chat(model=model).raise_for_status()
    assert {share[0] for one in models for share in one.shares} == {client_of("testclient")}


def test_nothing_may_be_asked_for(here: Site) -> None:
    found = choice(here, max_tokens=0)
    assert (found["text"], found["finish_reason"]) == ("", "length")
    echoed = choice(here, max_tokens=0, echo=True, logprobs=0)
    assert (echoed["text"], echoed["logprobs"]["top_logprobs"]) == (TEXT, None)
    assert len(echoed["logprobs"]["tokens"]) == len(ids_of(here))


@pytest.mark.parametrize("model", ["a", "gac"])
def test_an_empty_document_begins(here: Site, model: str) -> None:
    for prompt in ("", []):
        assert choice(here, model=model, prompt=prompt)["finish_reason"] == "length"
        assert ask(here, model=model, prompt=prompt, echo=True, logprobs=1).status_code == 200


def test_what_cannot_be_has_the_least_probability(here: Site) -> None:
    """JSON has no infinity."""
    control = vocabulary(here).index(None)
    told = choice(here, prompt=[65, control], echo=True, logprobs=1, max_tokens=0)["logprobs"]
    assert (told["token_logprobs"], told["top_logprobs"][1][""]) == ([None, -9999.0], -9999.0)


def test_a_prompt_of_the_union_has_no_end(here: Site) -> None:
    status, error = refusal_of(ask(here, model="gac", prompt=[5, ensemble_of(here).union.end_id]))
    assert (status, error["param"]) == (400, "prompt")


def test_half_a_character_may_end_a_prompt(here: Site) -> None:
    ids = [ensemble_of(here).union.ids[b"\xe6"]]
    assert choice(here, model="gac", prompt=ids, echo=True)["text"].startswith("�")
    told = choice(here, model="gac", prompt=ids * 2, echo=True, logprobs=1)["logprobs"]
    assert told["tokens"][:2] == ["bytes:\\xe6"] * 2


def test_scoring_ends_when_it_is_stopped(site: Sites) -> None:
    models = [FakeModel("a", 1, fault=Fault("hang", from_read=2)), FakeModel("b", 2)]
    here = site(models)
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(ask(here, prompt="a " * 500, echo=True, logprobs=1)))
    thread.start()
    until(models[0].is_hanging.is_set)
    [run] = here.under_way
    here.service._runner.stop(run)
    models[0].released.set()
    thread.join()
    assert len(models[0].batches) <= 5
    assert here.num_under_way == 0
    status, error = refusal_of(answers[0])
    assert (status, error["code"], answers[0].headers["retry-after"]) == (503, "aborted", "5")


def test_a_member_that_fails_while_it_scores_is_named(site: Sites) -> None:
    here = site([FakeModel("a", 1, fault=Fault("raise")), FakeModel("b", 2)])
    status, error = refusal_of(ask(here, model="gac", echo=True, logprobs=1))
    assert (status, error["code"]) == (500, "member_failed")
    assert error["message"].startswith("a: ")


# --- tokens


@pytest.mark.parametrize("model", ["a", "b", "gac"])
@pytest.mark.parametrize("text", [TEXT, "日本 é\n  x", ""])
def test_tokens_are_there_and_back(here: Site, model: str, text: str) -> None:
    asked = {"model": model, "prompt": text, "return_token_strs": True}
    found = here.client.post("/tokenize", json=asked).json()
    assert (found["count"], found["max_model_len"]) == (len(found["tokens"]), 4096)
    assert len(found["token_strs"]) == found["count"]
    back = here.client.post("/detokenize", json={"model": model, "tokens": found["tokens"]}).json()
    assert back == {"prompt": text}


def test_the_union_s_tokens_are_the_longest(here: Site) -> None:
    union = ensemble_of(here).union
    tokens = [union.token(token_id) for token_id in ids_of(here, model="gac")]
    rest = TEXT.encode()
    for token in tokens:
        assert token == max((one for one in union.tokens if rest.startswith(one)), key=len)
        rest = rest[len(token) :]


def test_a_chat_is_tokenised_as_a_member_reads_it(here: Site) -> None:
    chat = [{"role": "user", "content": "hello"}]
    found = here.client.post("/tokenize", json={"model": "b", "messages": chat}).json()
    assert found["count"] == here.chat(model="b", messages=chat).json()["usage"]["prompt_tokens"]
    assert refusal_of(here.client.post("/tokenize", json={"messages": chat}))[1]["param"] == "messages"


def test_wrong_tokens_are_refused(here: Site) -> None:
    status, error = refusal_of(here.client.post("/detokenize", json={"tokens": [10**6]}))
    assert (status, error["param"]) == (400, "tokens")
    assert refusal_of(here.client.post("/tokenize", json={}))[0] == 400
    assert refusal_of(here.client.post("/tokenize", json={"prompt": "x" * 300_000}))[0] == 400
