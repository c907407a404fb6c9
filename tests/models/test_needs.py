"""How much of GPUs' memory a model needs, from its configuration alone, and how its layers are divided."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config

from gac_app.models.hardware.devices import parse_devices
from gac_app.models.hardware.needs import Need
from gac_app.models.hardware.placement import plan
from gac_app.models.hf.loading import needed
from gac_app.models.hf.memory import need_of
from tests.models.source_tools import member

QWEN_32B = {
    **{"vocab_size": 152_064, "hidden_size": 5120, "intermediate_size": 27_648, "num_hidden_layers": 64},
    **{"num_attention_heads": 40, "num_key_value_heads": 8, "max_position_embeddings": 32_768},
}


@pytest.fixture(scope="module")
def need_32b(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Need]:
    directory = tmp_path_factory.mktemp("qwen")
    Qwen2Config(**QWEN_32B, dtype="bfloat16", tie_word_embeddings=False).save_pretrained(directory)

    @cache
    def found(**config: object) -> Need:
        return needed(member(**config), directory)

    return found


def test_weights_and_caches_are_those_of_the_configuration(need_32b: Callable[..., Need]) -> None:
    need = need_32b(context_length=8192, max_sequences=10)
    assert need.weights == pytest.approx(32.76e9 * 2, rel=0.001)
    assert need.cache == 8192 * 64 * 2 * 8 * 128 * 2 * 1.25
    assert need.most == need.least + 9 * need.cache
    assert need_32b().context_length == 32_768
    assert need_32b(dtype="float32").weights == pytest.approx(32.76e9 * 4, rel=0.001)


def test_a_refusal_says_what_would_fit(need_32b: Callable[..., Need]) -> None:
    need = need_32b(context_length=8192)
    [refused] = plan([member()], parse_devices("24GiB"), {"tiny": need}).refusals
    assert refused.startswith(
        "tiny: needs at least 64.4 GiB (weights 61.0, cache 2.5 for one of 8 sequences of 8,192 tokens, workspace"
    )
    assert "and cuda:0 has 24.0 GiB free; use quantization: 4bit (22." in refused
    assert "8bit" not in refused, "it would not fit"
    assert refused.endswith("a smaller context_length, or several GPUs")


def test_a_model_larger_than_a_gpu_is_divided_evenly(need_32b: Callable[..., Need]) -> None:
    need = need_32b(context_length=8192)
    placement = plan([member()], parse_devices("3x48GiB"), {"tiny": need}).placements["tiny"]
    assert placement.device == ("cuda:0", "cuda:1")
    taken = placement.taken
    assert max(taken.values()) < 1.1 * min(taken.values())
    assert sum(taken.values()) == pytest.approx(need.most + need.workspace, rel=0.001)
    divided = need.divide(placement.limits, need.num_sequences)
    assert divided
    device_map, again = divided
    assert again == taken, "as when it is loaded"
    layers = [device_map[f"model.layers.{index}"] for index in range(64)]
    assert layers == sorted(layers)


@cache
def small_need(num_layers: int, is_tied: bool, quantization: str) -> Need:
    config = LlamaConfig(
        vocab_size=999, hidden_size=64, intermediate_size=128, num_hidden_layers=num_layers, num_attention_heads=4
    )
    config.tie_word_embeddings = is_tied
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    return need_of(member(quantization=quantization, context_length=64), model)


NEEDS = st.builds(small_need, st.integers(1, 8), st.booleans(), st.sampled_from(["none", "8bit", "4bit"]))


@given(need=NEEDS, parts=st.lists(st.floats(0, 2), min_size=2, max_size=4), num_sequences=st.integers(1, 9))
def test_layers_are_divided_within_the_rooms_or_not_at_all(need: Need, parts: list[float], num_sequences: int) -> None:
    held = need.weights + num_sequences * need.cache
    limits = {f"cuda:{index}": int(part * held) + need.workspace for index, part in enumerate(parts)}
    divided = need.divide(limits, num_sequences)
    if divided is None:
        assert max(limits.values()) < 1.2 * held + need.workspace, "one has room for all"
        return
    device_map, taken = divided
    assert set(device_map.values()) <= limits.keys()
    assert all(size <= limits[name] for name, size in taken.items())
    assert sum(taken.values()) >= 0.99 * held
    assert need.divide(limits, num_sequences) == divided, "each time the same"


def test_only_members_that_transformers_runs_are_looked_at(llama_dir: Path, tmp_path: Path) -> None:
    from gac_app.models.factory import known_needs

    here = str(llama_dir)
    members = [
        member(name="here", source=here),
        member(name="elsewhere", source=here, server={"url": "http://127.0.0.1:1", "api": "vllm"}),
        member(name="cpu", source=here, device="cpu"),
        member(name="gguf", source="gone.gguf"),
        member(name="random", source="random:1"),
        member(name="hub", source="hub:no/such"),
    ]
    assert list(known_needs(members, tmp_path)) == ["here"]
