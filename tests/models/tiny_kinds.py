"""Tiny random models of several architectures, without tokenizers."""

from __future__ import annotations

from typing import Any

import torch
import transformers

_SIZES = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "head_dim": 8}
_HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512, "initializer_range": 0.3}
_ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
PACKABLE: dict[str, dict[str, Any]] = {
    "Llama": {},
    "Qwen3": {},
    "Olmo3": {"sliding_window": 6, "num_hidden_layers": 4},  # in three of four
    "Mistral": {"sliding_window": 6},  # in all layers
    "Cohere2": {"sliding_window": 6},  # in some
    "Llama4": {"attention_chunk_size": 6, "intermediate_size_mlp": 64},
    "GPT2": {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 512},
    "GPTNeoX": {},
    "Mixtral": {},
}


def build(kind: str, **config: Any) -> Any:
    """A causal model in evaluation mode; `config` wins over the sizes above."""
    config_class = getattr(transformers, f"{kind}TextConfig", None) or getattr(transformers, f"{kind}Config")
    model_class = getattr(transformers, f"{kind}LMHeadModel", None) or getattr(transformers, f"{kind}ForCausalLM")
    options = {**_SIZES, **_HEADS, **_ENDS, **PACKABLE.get(kind, {}), **config}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = model_class._from_config(config_class(**options))
    return model.eval()
