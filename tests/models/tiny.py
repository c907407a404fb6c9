"""Tiny random models of several architectures, most in the Hub's layout, saved to a directory: real back-end code in
milliseconds.

The weights are drawn large, so that the distributions differ from context to context.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = (
    "The capital of France is Paris. def f(x):\n    return x * 2  # twice the number\n",
    "Every token of the answer is one step of the model, and every step asks the gate again.",
    "café naïve 日本語 русский 1234567890 the the the of of and and to to is is in in a a",
)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

INSTRUCT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] | trim + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] | trim + ' ' + eos_token }}"
    "{% else %}{{ raise_exception('only user and assistant') }}{% endif %}{% endfor %}"
)


def byte_level_tokenizer() -> Tokenizer:
    """GPT-2's kind: BPE over the byte alphabet, ChatML control tokens, and `<tool>` added as ordinary text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS * 4, trainer)
    tokenizer.add_tokens([AddedToken("<tool>", special=False, normalized=False)])
    return tokenizer


def sentencepiece_tokenizer(puts_space_first: bool = False) -> Tokenizer:
    """Gemma's and Llama-2's kind: `▁` for a space, byte tokens for what is missing, a BOS, and ordinary tokens of the
    same bytes as byte tokens. With `puts_space_first`, Llama-2's habit of a space before every text.
    """
    control = ["<pad>", "<eos>", "<bos>", "<unk>", "<end_of_turn>"]
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Replace(" ", "▁")
    trained.train_from_iterator(CORPUS * 4, trainers.BpeTrainer(vocab_size=200, show_progress=False))
    pieces = trained.get_vocab()
    tokens = [*control, *(f"<0x{byte:02X}>" for byte in range(256)), *sorted(pieces, key=pieces.__getitem__)]
    vocab = {token: token_id for token_id, token in enumerate(tokens)}
    merges = [(left, right) for left, right in json.loads(trained.to_str())["model"]["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab, merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.add_special_tokens(control)
    replace = normalizers.Replace(" ", "▁")
    prepend = normalizers.Prepend("▁")
    tokenizer.normalizer = normalizers.Sequence([prepend, replace]) if puts_space_first else replace
    last = [decoders.Strip(" ", 1, 0)] if puts_space_first else []
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *last])
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    return tokenizer


_SIZES = {"hidden_size": 32, "intermediate_size": 64, "max_position_embeddings": 512, "initializer_range": 0.3}
_LLAMA = {**_SIZES, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
_KINDS = {**_LLAMA, "vocab_size": 97, "num_hidden_layers": 3, "head_dim": 8}
_KINDS |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
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
    """A causal model of an architecture, without a tokenizer; `config` wins over the sizes above."""
    return _made(kind, 0, **{**_KINDS, **PACKABLE.get(kind, {}), **config})


def save_llama(directory: Path, seed: int = 0, **config: Any) -> Path:
    """A Llama of two layers with a byte-level tokenizer and a chat template; 16 rows of its embedding are padding."""
    tokenizer = _wrapped(byte_level_tokenizer(), bos_token="<|im_start|>", eos_token="<|im_end|>")
    tokenizer.chat_template = CHAT_TEMPLATE
    options = {"vocab_size": len(tokenizer) + 16, "bos_token_id": 1, "eos_token_id": 2, **_LLAMA, **config}
    return _save(tokenizer, directory, "Llama", seed, **options)


def save_gemma3(directory: Path, seed: int = 0, **config: Any) -> Path:
    """A Gemma 3 of three layers, two of them with a window of 8, with a SentencePiece tokenizer and no template."""
    tokenizer = _wrapped(sentencepiece_tokenizer(), bos_token="<bos>", eos_token="<eos>", pad_token="<pad>")
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "query_pre_attn_scalar": 16}
    layers = {"sliding_window": 8, "layer_types": ["sliding_attention", "sliding_attention", "full_attention"]}
    ends = {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
    options = {"vocab_size": len(tokenizer), "num_hidden_layers": 3, **_SIZES, **heads, **layers, **ends, **config}
    return _save(tokenizer, directory, "Gemma3", seed, **options)


def save_spaced_llama(directory: Path) -> Path:
    """Llama 2's kind: a SentencePiece tokenizer that puts a space before every text, and a template with [INST]."""
    spaced = sentencepiece_tokenizer(puts_space_first=True)
    tokenizer = _wrapped(spaced, bos_token="<bos>", eos_token="<eos>", unk_token="<unk>")
    tokenizer.chat_template = INSTRUCT_TEMPLATE
    return _save(tokenizer, directory, "Llama", vocab_size=len(tokenizer), bos_token_id=2, eos_token_id=1, **_LLAMA)


def save_gpt2(directory: Path) -> Path:
    """A GPT-2 of two layers, whose positions are learnt, with a byte-level tokenizer, no BOS and no template."""
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512}
    return _save_gpt(directory, "GPT2", **sizes)


def save_gpt_neo(directory: Path) -> Path:
    """A GPT-Neo of two layers, one with a window of 8: attention of its own, so that no two sequences share a pass."""
    sizes = {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "window_size": 8, "max_position_embeddings": 512}
    return _save_gpt(directory, "GPTNeo", attention_types=[[["global", "local"], 1]], **sizes)


def _save_gpt(directory: Path, kind: str, **options: Any) -> Path:
    tokenizer = _wrapped(byte_level_tokenizer(), eos_token="<|endoftext|>")
    options |= {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 0, "initializer_range": 0.3}
    return _save(tokenizer, directory, kind, **options)


def _wrapped(tokenizer: Tokenizer, **special: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def _save(tokenizer: Any, directory: Path, kind: str, seed: int = 0, **options: Any) -> Path:
    _made(kind, seed, **options).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def _made(kind: str, seed: int, **options: Any) -> Any:
    """A causal model in evaluation mode."""
    import transformers

    config_class = getattr(transformers, f"{kind}TextConfig", None) or getattr(transformers, f"{kind}Config")
    model_class = getattr(transformers, f"{kind}LMHeadModel", None) or getattr(transformers, f"{kind}ForCausalLM")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return model_class(config_class(**options)).eval()
