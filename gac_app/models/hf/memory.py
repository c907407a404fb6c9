"""Memory that a transformers model needs on GPUs, told from the model without weights (torch's meta device)."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from gac_app.member_config import MemberConfig
from gac_app.models.hardware import CPU, ByDevice, Need
from gac_app.models.hf.forward_passes import SHARED_IDS
from gac_app.models.hf.tokenized import length_of_context

_RUNTIME_BYTES = 1 << 29  # CUDA's own, and what its allocator cannot use
_CACHE_SPARE = 1.25  # `KeyValueCache` grows by a quarter
_NUM_CHUNK = 512  # ids of one pass of a prefill
# Bytes of bitsandbytes' weights, with their scales: one for each 64 weights, or for each row.
_QUANTIZED = {"8bit": 1.01, "4bit": 0.5 + 4 / 64}
_COUNTED = {"8bit": 1 / 1.01, "4bit": 0.5 / 0.5625}  # the part of them that accelerate counts: it knows no scales

# A plan may be for GPUs that are not here.
logging.getLogger("accelerate.utils.modeling").addFilter(lambda record: "is not available" not in str(record.msg))


def need_of(member: MemberConfig, model: Any, weights: int | None = None) -> Need:
    """What a member needs on GPUs. An estimate, which was not measured on any.

    Args:
        model: on the meta device, in the precision in which it will run.
        weights: bytes, where the model does not tell.
    """
    length = length_of_context(model, member.context_length)
    cache, workspace = _cache(model, length), _workspace(model, length)

    known = Need(
        weights=_weights(model, member.quantization) if weights is None else weights,
        cache=cache,
        num_sequences=member.max_sequences,
        context_length=length,
        workspace=workspace,
    )
    if weights is not None:
        return known
    instead = {f"quantization: {name}": _weights(model, name) + cache + workspace for name in _QUANTIZED}
    return replace(known, spread=partial(_spread, model, member.quantization), instead=instead)


def _weights(model: Any, quantization: str) -> int:
    return math.ceil(sum(_sizes(model, quantization).values()))


def _sizes(model: Any, quantization: str) -> dict[str, float]:
    """By name, of parameters and buffers; tied ones once."""
    quantized = set() if quantization == "none" else _quantized(model)
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return {
        name: tensor.numel() * (_QUANTIZED[quantization] if name in quantized else tensor.element_size())
        for name, tensor in tensors
    }


def _quantized(model: Any) -> set[str]:
    """The parameters that bitsandbytes quantises: of linear layers except the head."""
    head = model.get_output_embeddings()
    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return {f"{name}.weight" for name, module in layers if module is not head}


def _cache(model: Any, length: int) -> int:
    """Of one sequence: keys and values of every layer."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    per_id = 2 * config.num_hidden_layers * heads * _head_width(config) * model.dtype.itemsize
    return int(length * per_id * _CACHE_SPARE)


def _workspace(model: Any, length: int) -> int:
    """On one device: a chunk's activations, keys and values repeated for each head, and rows of logits in several
    forms.
    """
    config, size = model.config.get_text_config(), model.dtype.itemsize
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    activations = _NUM_CHUNK * (8 * config.hidden_size + 3 * inner) * size
    repeated = 2 * length * config.num_attention_heads * _head_width(config) * size
    logits = SHARED_IDS * config.vocab_size * (size + 3 * 4)
    return int(_RUNTIME_BYTES + activations + repeated + logits)


def _head_width(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _spread(model: Any, quantization: str, limits: ByDevice) -> tuple[Mapping[str, str], ByDevice] | None:
    """Divides a model's layers among devices, in their order. See `Need.spread`."""
    from accelerate import infer_auto_device_map
    from accelerate.utils import CustomDtype, compute_module_sizes, get_max_layer_size

    whole = list(model._no_split_modules or ())
    counted = {"8bit": torch.int8, "4bit": CustomDtype.INT4}.get(quantization)  # without scales
    special = dict.fromkeys(_quantized(model), counted) if counted else {}
    # accelerate leaves room on the first GPU for the largest layer in main memory. Only with main memory is there one.
    keys: dict[int | str, str] = {name if name == CPU else index: name for index, name in enumerate(limits, 1)}
    budgets = {key: int(limits[name] * _COUNTED.get(quantization, 1.0)) for key, name in keys.items()}
    if CPU in limits:
        sizes = compute_module_sizes(model, special_dtypes=special)
        budgets[1] -= get_max_layer_size(list(model.named_children()), sizes, whole)[0]
    found = infer_auto_device_map(model, {0: 0, **budgets}, whole, special_dtypes=special)
    if not set(found.values()) <= keys.keys():
        return None  # accelerate put the rest on the disk
    device_map = {module: keys[key] for module, key in found.items()}
    taken: Counter[str] = Counter()
    for name, size in _sizes(model, quantization).items():
        parts = name.split(".")
        module = next(part for num in range(len(parts), -1, -1) if (part := ".".join(parts[:num])) in device_map)
        taken[device_map[module]] += math.ceil(size)
    return device_map, taken
