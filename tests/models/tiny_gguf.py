"""A tiny Llama as a GGUF file, weights in float32: the same model as `tiny` saved, with either kind of tokenizer.

Its outer layers may be in Q8_0, so that the file can be split.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch

_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def save_llama_gguf(directory: Path, path: Path, *, has_q8_ends: bool = False) -> Path:
    """Write the model that `tiny.save_llama` or `tiny.save_spaced_llama` saved to `directory` as one GGUF file."""
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.quants import quantize
    from safetensors.torch import load_file

    config = json.loads((directory / "config.json").read_text())
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config["hidden_size"] // config["num_attention_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    _add_tokenizer(writer, json.loads((directory / "tokenizer.json").read_text()), config["vocab_size"])
    writer.add_chat_template((directory / "chat_template.jinja").read_text())
    for name, weights in load_file(directory / "model.safetensors").items():
        gguf_name, values = _tensor(name, weights, config)
        if has_q8_ends and gguf_name in ("token_embd.weight", "output.weight"):
            q8 = GGMLQuantizationType.Q8_0
            writer.add_tensor(gguf_name, quantize(values, q8), raw_dtype=q8)
        else:
            writer.add_tensor(gguf_name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: Any, spec: dict[str, Any], vocab_size: int) -> None:
    from gguf import TokenType

    added = {token["id"]: token for token in spec["added_tokens"]}
    tokens = {token_id: token for token, token_id in spec["model"]["vocab"].items()}
    tokens |= {token_id: token["content"] for token_id, token in added.items()}
    types = []
    for token_id in range(vocab_size):
        if token_id not in tokens:
            types.append(TokenType.UNUSED)
        elif token_id in added:
            types.append(TokenType.CONTROL if added[token_id]["special"] else TokenType.USER_DEFINED)
        elif spec["model"]["byte_fallback"] and re.fullmatch("<0x[0-9A-F]{2}>", tokens[token_id]):
            types.append(TokenType.BYTE)
        else:
            types.append(TokenType.NORMAL)
    writer.add_token_list([tokens.get(token_id, f"[PAD{token_id}]") for token_id in range(vocab_size)])
    writer.add_token_types(types)
    if spec["model"]["byte_fallback"]:
        _add_sentencepiece(writer, vocab_size)
    else:
        _add_byte_level(writer, spec["model"]["merges"])


def _add_byte_level(writer: Any, merges: list[list[str]]) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)


def _add_sentencepiece(writer: Any, vocab_size: int) -> None:
    writer.add_tokenizer_model("llama")
    writer.add_token_scores([-float(token_id) for token_id in range(vocab_size)])  # the earlier piece is merged first
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(3)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(True)


def _tensor(name: str, weights: torch.Tensor, config: dict[str, Any]) -> tuple[str, Any]:
    """GGUF's name and layout: its rotary embedding pairs neighbours, so that the rows of q and k are interleaved."""
    outer = {"model.embed_tokens.weight": "token_embd", "model.norm.weight": "output_norm", "lm_head.weight": "output"}
    if name in outer:
        return f"{outer[name]}.weight", weights.float().numpy()
    _, _, layer, inner = name.split(".", 3)
    kind = inner.removesuffix(".weight")
    if kind.endswith(("q_proj", "k_proj")):
        heads = config["num_attention_heads"] if kind.endswith("q_proj") else config["num_key_value_heads"]
        rows = weights.shape[0]
        weights = weights.view(heads, 2, rows // heads // 2, -1).transpose(1, 2).reshape(rows, -1)
    return f"blk.{layer}.{_NAMES[kind]}.weight", weights.float().contiguous().numpy()
