"""LoRA adapters: a member with one computes what PEFT computes, and only safe files are taken."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from gac_app.config_file import config_of
from gac_app.errors import ConfigError, ModelLoadError
from gac_app.models.hf import adapter as adapters
from tests.fakes import logits_after
from tests.models.conftest import check_greedy, load_directory

needs_peft = pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="peft is not installed")
Weights = dict[str, torch.Tensor]
SAFE = "adapter_model.safetensors"
TEXT = "The capital of France is Paris, def f(x): return the"


@pytest.fixture
def adapted(llama_dir: Path) -> Any:
    """PEFT's own model: a random adapter on the tiny Llama."""
    from peft import LoraConfig, get_peft_model

    base = AutoModelForCausalLM.from_pretrained(llama_dir, dtype=torch.float32)
    config = LoraConfig(r=4, lora_alpha=16, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return get_peft_model(base, config).eval()


@pytest.fixture
def directory(adapted: Any, tmp_path: Path) -> Path:
    adapted.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


@needs_peft
def test_a_member_with_an_adapter_is_pefts_own_model(llama_dir: Path, adapted: Any, directory: Path) -> None:
    model, plain = load_directory(llama_dir, adapter=str(directory)), load_directory(llama_dir)
    prompt = model.encode_raw(TEXT)
    check_greedy(model, adapted, prompt, 20)
    whole, without = (logits_after(one, prompt, len(prompt)) for one in (model, plain))
    with torch.inference_mode():
        torch.testing.assert_close(whole, adapted(torch.tensor([prompt])).logits[0], rtol=1e-4, atol=1e-4)
    assert (whole - without).abs().max() > 0.1


def not_a_number(weights: Weights) -> Weights:
    """One value of one of them."""
    weights[min(weights)][0, 0] = torch.nan
    return weights


@needs_peft
@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (
            lambda weights: {name: value for name, value in weights.items() if "layers.0" in name},
            "of another model: 14 weights are missing and 0 have no place, such as base_model",
        ),
        (
            lambda weights: (
                weights | {name.replace("layers.1", "layers.2"): value.clone() for name, value in weights.items()}
            ),
            "of another model: 0 weights are missing and 14 have no place",
        ),
        (not_a_number, "has values that are no numbers"),
    ],
)
def test_an_adapter_of_another_model_is_refused(spoil: Any, why: str, llama_dir: Path, directory: Path) -> None:
    """PEFT would draw what is missing at random."""
    file = directory / SAFE
    save_file(spoil(load_file(file)), file)
    with pytest.raises(ModelLoadError, match=why):
        load_directory(llama_dir, adapter=str(directory))


@pytest.mark.parametrize(
    ("config", "weights", "why"),
    [
        ('{"peft_type": "LORA"}', "adapter_model.bin", "has no adapter_model.safetensors; expected what PEFT saves"),
        ('{"peft_type": "IA3"}', SAFE, "is of the kind 'IA3'; expected LORA"),
        ('{"peft_type": "LORA", "megatron_config": {"x": 1}, "megatron_core": "own"}', SAFE, "is for Megatron"),
        ("{", SAFE, "adapter_config.json is damaged"),
    ],
)
def test_an_unsafe_adapter_is_refused(
    config: str, weights: str, why: str, llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapters.importlib.util, "find_spec", lambda name: name)
    (tmp_path / "adapter_config.json").write_text(config)
    (tmp_path / weights).write_bytes(b"")
    with pytest.raises(ModelLoadError, match=why):
        load_directory(llama_dir, adapter=str(tmp_path))


def test_without_peft_it_says_what_to_install(llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelLoadError, match=r"needs the package peft; install it: pip install '\.\[adapters\]' in"):
        load_directory(llama_dir, adapter=str(tmp_path))


def test_an_adapter_takes_over_what_is_not_its_own(tmp_path: Path) -> None:
    base = {"name": "base", "source": "model", "num_params": 1e6, "score": 2}
    maths = {"name": "maths", "of": "base", "adapter": "lora", "score": 3, "num_threads": 2}
    terse = {"name": "terse", "of": "maths", "system_prompt": "Be terse."}
    config = config_of({"members": [terse, maths, base]}, tmp_path)
    found, view = config.member("maths"), config.member("terse")
    assert (view.of, view.adapter, view.num_threads, view.score) == ("maths", found.adapter, 2, None)
    assert (found.of, found.source, found.num_params) == ("", str(tmp_path / "model"), 1e6)
    assert (found.adapter, found.score, found.num_threads) == (str(tmp_path / "lora"), 3, 2)
    assert [member.name for member in config.loaded] == ["maths", "base"]
    assert type(config).model_validate(config.model_dump()) == config


@pytest.mark.parametrize(
    ("base", "maths", "why"),
    [
        ({}, {"system_prompt": "Be brief."}, "expected 'of' with the name of a member"),
        ({"source": "random:1"}, {}, "adapter: expected a model's files, computed here or on Ray by transformers"),
        ({"backend": "llama_cpp"}, {}, "adapter: expected a model's files"),
        ({"server": {"url": "http://127.0.0.1:1", "api": "vllm"}}, {}, "adapter: expected a model's files"),
    ],
)
def test_impossible_adapters_are_refused(base: dict[str, Any], maths: dict[str, Any], why: str, tmp_path: Path) -> None:
    members = [{"name": "base", "source": "m", **base}, {"name": "maths", "of": "base", "adapter": "lora", **maths}]
    with pytest.raises(ConfigError) as caught:
        config_of({"members": members}, tmp_path)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)
