"""The lm-evaluation-harness measures through the API what it measures in this process."""

from __future__ import annotations

from typing import Any

import pytest
from lm_eval.api.instance import Instance

from gac_app.evaluation.harness.lm_eval_model import EnsembleLM
from tests.api.site import Site, Sites
from tests.server.site import served

pytest.importorskip("tenacity")  # lm_eval[api]
from lm_eval.models.openai_completions import LocalCompletionsAPI

CONTEXTS = ("the model of", "we can vote")  # that end where the members' tokens surely do
ASKED: dict[str, list[tuple[Any, ...]]] = {
    "loglikelihood": [(context, more) for context in CONTEXTS for more in (" all", " step", " with this gate")],
    "loglikelihood_rolling": [("the model of all",), ("we can vote",)],
    "generate_until": [(context, {"until": [" the"], "max_gen_toks": 12}) for context in CONTEXTS],
}
SYSTEMS = {"gac/every-step": "every-step", "gac/gate": "gate@0.5", "a": "alone:a"}
MEASURED = [*(("loglikelihood", model) for model in SYSTEMS), ("generate_until", "gac/gate")]
MEASURED += [("loglikelihood_rolling", model) for model in ("gac/every-step", "a")]


@pytest.mark.parametrize(("kind", "model"), MEASURED)
def test_it_measures_what_the_engine_measures(site: Sites, kind: str, model: str) -> None:
    here, below = site(), "" if model.startswith("gac") else f"/models/{model}"
    asked = [Instance(kind, {}, one, number) for number, one in enumerate(ASKED[kind])]
    own = getattr(EnsembleLM(here.service.members.ensemble(), SYSTEMS[model]), kind)(asked)
    with served(here.host) as url:
        client = LocalCompletionsAPI(
            base_url=f"{url}{below}/v1/completions", model=model, tokenizer_backend="remote", num_concurrent=1
        )
        told = getattr(client, kind)(asked)
    if kind == "loglikelihood":
        told, own = ([log_prob for log_prob, _ in found] for found in (told, own))
    assert told == (own if kind == "generate_until" else pytest.approx(own, abs=1e-3))


def test_a_member_s_tokeniser_is_below_its_name(here: Site) -> None:
    body = {"prompt": "the model"}
    below, named = (
        here.client.post(path, json=body | more).json()
        for path, more in (("/models/a/tokenize", {}), ("/tokenize", {"model": "a"}))
    )
    assert named == below != here.client.post("/tokenize", json=body).json()
    assert here.client.post("/models/nobody/tokenize", json=body).status_code == 404
