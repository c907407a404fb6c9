"""The lm-evaluation-harness measures through the API what it measures in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lm_eval.api.instance import Instance

from gac_app.evaluation.harness.lm_eval_model import EnsembleLM
from tests.api.site import Site
from tests.server.site import served

pytest.importorskip("tenacity")  # lm_eval[api]
from lm_eval.models.openai_completions import LocalCompletionsAPI

CONTEXTS = ("the model of", "we can vote")  # that end where the members' tokens surely do
PAIRS = [(context, continuation) for context in CONTEXTS for continuation in (" all", " step", " with this gate")]


def requests(kind: str, arguments: list[tuple[Any, ...]]) -> list[Instance]:
    return [Instance(kind, {}, one, number) for number, one in enumerate(arguments)]


@pytest.mark.parametrize(("model", "system"), [("gac/every-step", "every-step"), ("gac/gate", "gate@0.5")])
def test_log_likelihoods_are_the_engine_s(site: Callable[..., Site], model: str, system: str) -> None:
    here = site()
    asked = requests("loglikelihood", PAIRS)
    own = EnsembleLM(here.service.members.ensemble(), system).loglikelihood(asked)
    with served(here.host) as url:
        client = LocalCompletionsAPI(
            base_url=f"{url}/v1/completions", model=model, tokenizer_backend="remote", batch_size=2, num_concurrent=1
        )
        told = client.loglikelihood(asked)
    assert [log_prob for log_prob, _ in told] == pytest.approx([log_prob for log_prob, _ in own], abs=1e-3)


@pytest.mark.parametrize(
    ("model", "system", "below"), [("gac/every-step", "every-step", ""), ("a", "alone:a", "/models/a")]
)
def test_rolling_log_likelihoods_are_the_engine_s(
    site: Callable[..., Site], model: str, system: str, below: str
) -> None:
    here = site()
    asked = requests("loglikelihood_rolling", [("the model of all",), ("we can vote",)])
    own = EnsembleLM(here.service.members.ensemble(), system).loglikelihood_rolling(asked)
    with served(here.host) as url:
        client = LocalCompletionsAPI(
            base_url=f"{url}{below}/v1/completions", model=model, tokenizer_backend="remote", num_concurrent=1
        )
        assert client.loglikelihood_rolling(asked) == pytest.approx(own, abs=1e-3)


def test_a_member_s_tokeniser_is_below_its_name(site: Callable[..., Site]) -> None:
    here = site()
    asked, body = requests("loglikelihood", PAIRS), {"prompt": "the model"}
    own = EnsembleLM(here.service.members.ensemble(), "alone:a").loglikelihood(asked)
    named, below = (
        here.client.post("/tokenize", json=body | {"model": "a"}),
        here.client.post("/models/a/tokenize", json=body),
    )
    assert named.json() == below.json() != here.client.post("/tokenize", json=body).json()
    assert here.client.post("/models/nobody/tokenize", json=body).status_code == 404
    with served(here.host) as url:
        client = LocalCompletionsAPI(
            base_url=f"{url}/models/a/v1/completions", model="a", tokenizer_backend="remote", num_concurrent=1
        )
        told = client.loglikelihood(asked)
    assert [log_prob for log_prob, _ in told] == pytest.approx([log_prob for log_prob, _ in own], abs=1e-3)


def test_texts_are_written_until_a_stop(site: Callable[..., Site]) -> None:
    here = site()
    options = {"until": [" the"], "max_gen_toks": 12}
    asked = requests("generate_until", [(context, options) for context in CONTEXTS])
    own = EnsembleLM(here.service.members.ensemble(), "gate@0.5").generate_until(asked)
    with served(here.host) as url:
        client = LocalCompletionsAPI(
            base_url=f"{url}/v1/completions", model="gac/gate", tokenizer_backend="remote", batch_size=1
        )
        assert client.generate_until(asked) == own
