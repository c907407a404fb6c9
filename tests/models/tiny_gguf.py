"""Tiny models as GGUF files: the Llama that `tiny` saved, with either kind of tokenizer, and random ones of others'
architectures, quantised in many ways.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch


def save_llama_gguf(directory: Path, path: Path, *, kind: str = "F32", licence: str = "") -> Path:
    """Write the model that `tiny.save_llama` or `tiny.save_spaced_llama` saved to `directory` as one GGUF file, with
    matrices of a kind of `GGMLQuantizationType`.
    """
    from gguf import MODEL_ARCH, GGUFWriter, get_tensor_name_map
    from safetensors.torch import load_file

    config = json.loads((directory / "config.json").read_text())
    writer = GGUFWriter(path, "llama")
    if licence:
        writer.add_license(licence)
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
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    for name, weights in load_file(directory / "model.safetensors").items():
        own = str(names.get_name(name, (".weight",)))
        _add_tensor(writer, own, _turned(own, weights, config).float().contiguous().numpy(), kind)
    return _written(writer, path)


KINDS = ("Q8_0", "Q5_0", "Q4_1", "Q4_0", "Q5_1")  # those that the gguf package can make


def save_random_gguf(
    directory: Path,
    path: Path,
    architecture: str,
    fields: dict[str, Any] | None = None,
    quantisations: tuple[str, ...] = KINDS,
) -> Path:
    """Write a random model of an architecture, with the tokenizer that `tiny.save_llama` saved to `directory`.

    Args:
        fields: of the architecture, beside or in place of the usual ones.
        quantisations: of the matrices, by turns; in some layers queries, keys and values have each another.
    """
    from gguf import GGUFWriter

    rng = np.random.default_rng(0)
    width, num_heads, inner, num_layers = 64, 4, 96, 7
    num_keys = 1 if architecture == "gemma3" else 2
    head = 16 if architecture in ("llama", "qwen2") else 32
    vocab_size = json.loads((directory / "config.json").read_text())["vocab_size"]
    writer = GGUFWriter(path, architecture)
    own: dict[str, Any] = {
        "context_length": 512,
        "embedding_length": width,
        "block_count": num_layers,
        "feed_forward_length": inner,
        "attention.head_count": num_heads,
        "attention.head_count_kv": num_keys,
        "attention.key_length": head,
        "attention.value_length": head,
        "rope.dimension_count": head,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "rope.freq_base": 50_000.0,
    }
    if architecture == "gemma3":
        own["attention.sliding_window"] = 8
    for name, value in (own | (fields or {})).items():
        (writer.add_float32 if isinstance(value, float) else writer.add_uint32)(f"{architecture}.{name}", value)
    _add_tokenizer(writer, json.loads((directory / "tokenizer.json").read_text()), vocab_size)

    def add(name: str, *shape: int, kind: str = "F32") -> None:
        spread = 0.3 if len(shape) > 1 else 0.1
        values = rng.normal(float(name.endswith("norm.weight")), spread, shape).astype(np.float32)
        _add_tensor(writer, name, values, kind)

    add("token_embd.weight", vocab_size, width, kind="Q8_0")
    add("output_norm.weight", width)
    for layer in range(num_layers):
        prefix, kinds = f"blk.{layer}", [quantisations[(layer + n) % len(quantisations)] for n in range(5)]
        add(f"{prefix}.attn_norm.weight", width)
        add(f"{prefix}.ffn_norm.weight", width)
        for kind, heads in (("q", num_heads), ("k", num_keys), ("v", num_keys)):
            mixed = kinds["qkv".index(kind)] if layer % 2 else kinds[0]
            add(f"{prefix}.attn_{kind}.weight", heads * head, width, kind=mixed)
            if architecture == "qwen2":
                add(f"{prefix}.attn_{kind}.bias", heads * head)
        if architecture in ("qwen3", "gemma3"):
            add(f"{prefix}.attn_q_norm.weight", head)
            add(f"{prefix}.attn_k_norm.weight", head)
        if architecture == "gemma3":
            add(f"{prefix}.post_attention_norm.weight", width)
            add(f"{prefix}.post_ffw_norm.weight", width)
        add(f"{prefix}.attn_output.weight", width, num_heads * head, kind=kinds[3])
        add(f"{prefix}.ffn_gate.weight", inner, width, kind=kinds[4])
        add(f"{prefix}.ffn_up.weight", inner, width, kind=kinds[4])
        add(f"{prefix}.ffn_down.weight", width, inner, kind=kinds[2])
    return _written(writer, path)


def _add_tensor(writer: Any, name: str, values: Any, kind: str) -> None:
    """A tensor, quantised if it is a matrix."""
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    if kind == "F32" or values.ndim == 1:
        writer.add_tensor(name, values)
    else:
        raw = GGMLQuantizationType[kind]
        writer.add_tensor(name, quantize(values, raw), raw_dtype=raw)


def _written(writer: Any, path: Path) -> Path:
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
    is_sentencepiece = spec["model"]["byte_fallback"]
    writer.add_tokenizer_model("llama" if is_sentencepiece else "gpt2")
    writer.add_bos_token_id(2 if is_sentencepiece else 1)
    writer.add_eos_token_id(1 if is_sentencepiece else 2)
    writer.add_add_bos_token(is_sentencepiece)
    if is_sentencepiece:
        scores = [-float(token_id) for token_id in range(vocab_size)]  # the earlier piece is merged first
        writer.add_token_scores(scores)
        writer.add_unk_token_id(3)
        writer.add_add_space_prefix(True)
    else:
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_merges([" ".join(pair) for pair in spec["model"]["merges"]])


def _turned(name: str, weights: torch.Tensor, config: dict[str, Any]) -> torch.Tensor:
    """GGUF's rotary embedding pairs neighbours, so that the rows of q and k are interleaved."""
    heads = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}.get(name.split(".")[-2])
    if heads is None:
        return weights
    return weights.view(config[heads], 2, -1, weights.shape[1]).transpose(1, 2).reshape(weights.shape)
