"""`GacLogitsProcessor` in transformers' own `generate`: the engine's text, row by row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from gac_app import ConfigError, Gac, GacLogitsProcessor, MemberError, RequestError, load
from tests.library.test_loading import cache as cache
from tests.models.tiny import save_gemma3, save_gpt2, save_llama

pytestmark = pytest.mark.slow

HOW: dict[str, Any] = {"mode": "every-step", "reproducible": "on"}
PROMPTS = ["The capital of France is", "def f(x):", "Every token of the answer is one step of the model, and"]
NUM_NEW = 24


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    saves = {"llama": save_llama, "gemma": save_gemma3, "gpt2": save_gpt2}
    return {name: save(folder / name) for name, save in saves.items()}


def in_hand(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return AutoModelForCausalLM.from_pretrained(folder), tokenizer


def generated(pair: tuple[Any, Any], prompts: list[str], processor: GacLogitsProcessor, **how: Any) -> list[str]:
    model, tokenizer = pair
    inputs = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=True)
    inputs.pop("token_type_ids", None)
    ids = model.generate(**inputs, max_new_tokens=NUM_NEW, logits_processor=[processor], **how)
    return [tokenizer.decode(row, skip_special_tokens=True) for row in ids[:, inputs["input_ids"].shape[1] :]]


def engine(folders: dict[str, Path], names: list[str], **how: Any) -> Gac:
    return load([folders[name] for name in names], alignment="paper", **{**HOW, **how})


@pytest.mark.parametrize("names", [["llama", "gemma"], ["gemma", "llama"], ["gpt2", "llama", "gemma"]])
def test_generate_writes_the_engine_s_greedy_text(folders: dict[str, Path], names: list[str]) -> None:
    pair = in_hand(folders[names[0]])
    with GacLogitsProcessor(pair, [folders[name] for name in names[1:]], **HOW) as processor:
        written = [generated(pair, [prompt], processor, do_sample=False)[0] for prompt in PROMPTS]
    with engine(folders, names) as gac:
        # A token that the model lacks takes several of its ids, so `generate` may end sooner.
        expected = [gac.answer(prompt, raw=True, max_new_tokens=NUM_NEW).text for prompt in PROMPTS]
    assert all(written)
    for found, text in zip(written, expected, strict=True):
        assert text.startswith(found.rstrip("\N{REPLACEMENT CHARACTER}"))


def test_rows_of_a_batch_are_answers_of_their_own(folders: dict[str, Path]) -> None:
    pair = in_hand(folders["llama"])
    with GacLogitsProcessor(pair, [folders["gemma"]], temperature=1.0, seed=3, **HOW) as processor:
        alone = [generated(pair, [prompt], processor)[0] for prompt in PROMPTS]
        assert generated(pair, PROMPTS, processor, do_sample=True) == alone
        # `generate` ends the first row after a token and fills it up
        ends = [lambda ids, _: torch.tensor([True, False, False])]
        together = generated(pair, PROMPTS, processor, stopping_criteria=ends, pad_token_id=pair[1].pad_token_id)
    assert together[1:] == alone[1:]


def test_a_chat_is_read_by_each_template(folders: dict[str, Path]) -> None:
    model, tokenizer = pair = in_hand(folders["llama"])
    chat = [{"role": "user", "content": "Hello"}]
    inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with GacLogitsProcessor(pair, [folders["gemma"]], prompts=chat, **HOW) as processor:
        ids = model.generate(**inputs, max_new_tokens=NUM_NEW, logits_processor=[processor])
    found = tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    with engine(folders, ["llama", "gemma"]) as gac:
        text = gac.answer(chat, max_new_tokens=NUM_NEW).text
    assert found
    assert text.startswith(found.rstrip("\N{REPLACEMENT CHARACTER}"))


def test_the_logits_given_stay_as_they_are(folders: dict[str, Path]) -> None:
    pair = in_hand(folders["llama"])
    ids = torch.tensor([pair[1]("def f(x):")["input_ids"]])
    logits = pair[0](ids).logits[:, -1].detach()
    before = logits.clone()
    with GacLogitsProcessor(pair, [folders["gemma"]]) as processor:
        forced = processor(ids, logits)
    assert torch.equal(logits, before)
    assert (forced > -torch.inf).sum() == 1


def test_what_does_not_fit_is_told(folders: dict[str, Path]) -> None:
    pair = in_hand(folders["llama"])
    with pytest.raises(ConfigError, match="others: expected at least one more member"):
        GacLogitsProcessor(pair, [])
    with pytest.raises(RequestError, match="weights: this rule reads the prompt once more"):
        GacLogitsProcessor(pair, [folders["gemma"]], weights="prompt-perplexity")
    with GacLogitsProcessor(pair, [folders["gemma"]], prompts=["one"]) as processor:
        ids = torch.ones((2, 3), dtype=torch.int64)
        logits = torch.zeros((2, pair[0].get_output_embeddings().weight.shape[0]))
        with pytest.raises(RequestError, match="prompts: expected one for each row; got 1"):
            processor(ids, logits)
    with (
        GacLogitsProcessor(pair, [folders["gemma"]], prompts="one") as processor,
        pytest.raises(MemberError, match=r"gemma: holds as many .* \(max_sequences: 8\)"),
    ):
        processor(ids.repeat(5, 1), logits.repeat(5, 1))
