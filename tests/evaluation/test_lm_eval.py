"""The ensemble as a model of the lm-evaluation-harness, over toys and random members."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gac_app.config import Config
from gac_app.decoding.member import InlineMember
from gac_app.errors import GacError, RequestError
from gac_app.loading import load_ensemble
from tests.decoding.conftest import make
from tests.decoding.toy import Toy, toy_ensemble, toys
from tests.fakes import FakeModel, Fault, config_of, ensemble_of
from tests.models.tiny import save_gpt2, save_llama

lm_eval = pytest.importorskip("lm_eval", reason="installed by requirements-dev.txt")
from lm_eval.api.instance import Instance  # noqa: E402

from gac_app.evaluation.harness.lm_eval_model import EnsembleLM  # noqa: E402

SYSTEMS = ["every-step+paper", "every-step+prefix", "gate@0.5", "agreement", "alone:m0"]


def requests(kind: str, *arguments: tuple[Any, ...]) -> list[Instance]:
    return [Instance(kind, {}, args, i) for i, args in enumerate(arguments)]


def log_probs(lm: EnsembleLM, *pairs: tuple[str, str]) -> list[float]:
    return [log_prob for log_prob, _ in lm.loglikelihood(requests("loglikelihood", *pairs))]


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_log_likelihood_is_the_score_and_greedy_the_text(system: str) -> None:
    ensemble = toy_ensemble(toys(3, 2))
    lm = EnsembleLM(ensemble, system, batch_size=4)
    settings = lm._settings(max_new_tokens=4)
    written = list(ensemble.generate("ba", settings, alone=lm._system.alone, raw=True))[-1].text
    other = "b" if written.startswith("a") else "a"
    pairs = [("ba", written), ("ba", written[:1]), ("ba", other), ("a", "ab")]
    found = lm.loglikelihood(requests("loglikelihood", *pairs))
    assert [is_greedy for _, is_greedy in found[:3]] == [True, True, False]
    for (context, text), (log_prob, _) in zip(pairs, found, strict=True):
        (score,) = ensemble.score(context, [text], settings, alone=lm._system.alone, raw=True)
        assert log_prob == score.log_prob


def test_what_has_more_tokens_than_characters_may_be_greedy() -> None:
    class Accents(Toy):
        def probs(self, text: bytes) -> dict[bytes, float]:
            return {b"\xa9" if text.endswith(b"\xc3") else b"\xc3": 1.0}

    lm = EnsembleLM(toy_ensemble([Accents((b"\xc3", b"\xa9"), 0)]))
    assert lm.loglikelihood(requests("loglikelihood", ("é", "é"))) == [(pytest.approx(0), True)]


def test_by_the_harness_s_convention_spaces_move() -> None:
    ensemble = make(1, 2)
    own, theirs = EnsembleLM(ensemble), EnsembleLM(ensemble, convention="hf")
    assert log_probs(theirs, ("the ", "model"), ("the", " model")) == log_probs(own, *[("the", " model")] * 2)
    assert log_probs(theirs, (" ", "model")) == log_probs(own, (" ", "model")), "of a context that is spaces they stay"
    with pytest.raises(RequestError, match="convention: unknown convention 'none'"):
        EnsembleLM(ensemble, convention="none")


def test_a_rolling_log_likelihood_goes_beyond_the_context() -> None:
    text = "ab" * 30
    whole = EnsembleLM(toy_ensemble(toys(5, 2)), "every-step+prefix")
    assert whole.loglikelihood_rolling(requests("loglikelihood_rolling", (text,))) == log_probs(whole, ("", text))
    narrow = EnsembleLM(toy_ensemble(toys(5, 2), context_length=24), "every-step+prefix")
    windows = list(narrow._windows(text))
    assert "".join(windows) == text
    assert len(windows) > 3
    pairs = [("", windows[0]), *itertools.pairwise(windows)]
    (rolled,) = narrow.loglikelihood_rolling(requests("loglikelihood_rolling", (text,)))
    assert rolled == pytest.approx(sum(log_probs(narrow, *pairs)))


def test_an_answer_ends_before_what_the_task_says() -> None:
    ensemble = make(1, 2, sharpness=4.0)
    lm = EnsembleLM(ensemble, "every-step", max_gen_toks=20)
    (free,) = lm.generate_until(requests("generate_until", ("the", {"until": []})))
    stop = free[4:6]
    (cut,) = lm.generate_until(requests("generate_until", ("the", {"until": [stop], "do_sample": False})))
    assert cut == free[: free.index(stop)]
    (one,) = lm.generate_until(requests("generate_until", ("the", {"until": stop, "max_gen_toks": 1})))
    assert len(one) < len(free)
    [asked] = requests("generate_until", ("the", {"until": [], "temperature": 3.0, "seed": 1}))
    warm, *repeats = lm.generate_until([asked] * 3)
    assert len({free, warm, *repeats}) == 4
    for name, given in (("max-new-tokens=1", one), ("temperature=3+seed=1", warm)):
        lm = EnsembleLM(ensemble, f"every-step+{name}", max_gen_toks=20)
        assert lm.generate_until(requests("generate_until", ("the", {"until": []}))) == [given]


def test_a_chat_goes_through_the_members_own_templates() -> None:
    ensemble = make(1, 2, sharpness=4.0)
    lm = EnsembleLM(ensemble, "every-step", max_gen_toks=10)
    chat = lm.apply_chat_template(
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "the <|end|>"}]
    )
    (answer,) = lm.generate_until(requests("generate_until", (chat, {"until": []})))
    settings = ensemble.config.settings_from({"mode": "every-step", "max_new_tokens": 10, "system_prompt": "Be brief."})
    assert answer == list(ensemble.generate("the <|end|>", settings))[-1].text
    with pytest.raises(RequestError, match="chat: expected roles"):
        lm.generate_until(requests("generate_until", (lm.apply_chat_template([{"role": "tool", "content": "x"}]), {})))
    with pytest.raises(GacError, match="gen_prefix"):
        lm.apply_chat_template([], add_generation_prompt=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"system": "vote"}, "chooses among whole answers"),
        ({"system": "every-day"}, "unknown system 'every-day'; expected"),
        ({"batch_size": "auto"}, "batch_size: expected a whole number of at least 1; got 'auto'"),
        ({"max_gen_toks": 0}, "max_gen_toks: expected a whole number"),
    ],
)
def test_a_bad_argument_is_told(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        EnsembleLM(make(1, 2), **arguments)


def test_a_failing_member_ends_the_run_and_is_not_dropped() -> None:
    models = [FakeModel("a", 1), FakeModel("b", 2, fault=Fault("nan"))]
    config = config_of(["a", "b"], {"on_member_failure": "drop"})
    lm = EnsembleLM(ensemble_of(models, config, InlineMember), "every-step")
    with pytest.raises(GacError, match="b: its logits are not finite"):
        lm.generate_until(requests("generate_until", ("the model", {"until": []})))
    with pytest.raises(GacError, match="b: its logits are not finite"):
        lm._greedy("the model", [" votes"])


def save_llama_with_bos(folder: Path) -> Path:
    """One whose tokeniser writes BOS before every text."""
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(save_llama(folder))
    bos = tokenizer.bos_token
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, 1)])
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("save", "arguments"),
    [(save_llama, {"prefix_token_id": 0}), (save_gpt2, {}), (save_llama_with_bos, {"add_bos_token": False})],
)
def test_a_member_s_rolling_perplexities_are_those_of_hf(
    save: Callable[[Path], Path], arguments: dict[str, Any], tmp_path: Path
) -> None:
    """With control tokens kept, a member's probabilities are its own. These models give them much."""
    from lm_eval.models.huggingface import HFLM

    folder = save(tmp_path / "model")
    member = {"name": "m", "source": str(folder), "device": "cpu"}
    config = Config.model_validate({"members": [member], "control_tokens": "keep", "cache_dir": tmp_path})
    texts = ["The capital of France is Paris.", "def f(x):\n    return x * 2", "Every step asks café 日本語 again. "]
    asked = requests("loglikelihood_rolling", *((text,) for text in texts))
    theirs = HFLM(pretrained=str(folder), device="cpu", dtype="float32", **arguments).loglikelihood_rolling(asked)
    with closing(load_ensemble(config)) as ensemble:
        own = EnsembleLM(ensemble, "alone:m").loglikelihood_rolling(asked)
    for text, ours, hf in zip(texts, own, theirs, strict=True):
        num_bytes = len(text.encode())
        assert math.exp(-ours / num_bytes) == pytest.approx(math.exp(-hf / num_bytes), abs=1e-4)


def test_the_harness_s_own_models_are_there_too() -> None:
    from lm_eval.api.registry import get_model

    from gac_app.evaluation.harness import register

    register(lambda _: toy_ensemble(toys(0, 2)))
    assert [get_model(name).__name__ for name in ("gac", "hf")] == ["Configured", "HFLM"]
