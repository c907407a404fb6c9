"""Decides how a transformers model runs: in packed passes if these give the same results as single ones, else
singly.
"""

from __future__ import annotations

import inspect
import logging
from typing import Any

import torch

from gac_app.models.hf.attention import ATTENTION, Chunk, register
from gac_app.models.hf.forward_passes import ForwardPasses, PackedPasses, SinglePasses

_log = logging.getLogger(__name__)

# These scale the positions of a whole pass by its longest sequence.
_UNPACKABLE_ROPE = {"dynamic", "longrope"}
_PROBE_IDS = ((1, 2, 3), (4,))  # of two sequences, each read twice
# Total variation. Half precision alone gave up to 0.04; a model that mixes up neighbouring rows gives almost 1.
_PROBE_BOUND = 0.3


def passes_for(name: str, model: Any) -> ForwardPasses:
    """Chooses how to run a model's passes, and sets the attention that they need.

    A model's code may do anything with a cache or a mask. So packing is used only if it gives the library's own results
    for a few ids.
    """
    single = SinglePasses(model)
    if not _may_pack(model):
        _log.info("%s: its sequences are read one after the other", name)
        return single
    own_attention = model.config._attn_implementation
    try:
        with torch.inference_mode():
            expected = _read_singly(single)
            register()
            model.set_attn_implementation(ATTENTION)
            packed = PackedPasses(model)
            distance = _distance(_read_packed(packed), expected)
        reason = f"off by {distance:.2f}"
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        distance, reason = 1.0, f"{type(error).__name__}: {error}"
    if distance <= _PROBE_BOUND:
        return packed
    _log.warning(
        "%s: its sequences are read one after the other, since it does not support a shared pass (%s)", name, reason
    )
    model.set_attn_implementation(own_attention)
    return single


def _may_pack(model: Any) -> bool:
    """Whether attention and masks are the library's own, and positions can be passed in."""
    rope = getattr(model.config.get_text_config(), "rope_parameters", None) or {}
    kinds = {part.get("rope_type") for part in (rope, *rope.values()) if isinstance(part, dict)}
    return (
        model.config._attn_implementation in ("sdpa", ATTENTION)  # a caller's model may serve a second ensemble
        and model._supports_attention_backend
        and "position_ids" in inspect.signature(model.forward).parameters
        and not kinds & _UNPACKABLE_ROPE
    )


def _read_singly(passes: SinglePasses) -> list[torch.Tensor]:
    return passes.run([Chunk(passes.new_cache(), [*ids, *ids], 2 * len(ids)) for ids in _PROBE_IDS])


def _read_packed(passes: PackedPasses) -> list[torch.Tensor]:
    caches = [passes.new_cache() for _ in _PROBE_IDS]
    halves = [
        passes.run([Chunk(cache, list(ids), len(ids)) for cache, ids in zip(caches, _PROBE_IDS, strict=True)])
        for _ in range(2)
    ]
    return [torch.cat(parts) for parts in zip(*halves, strict=True)]


def _distance(found: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    """The largest total variation between distributions after the same ids."""
    probs_NV, others_NV = (torch.cat(logits).float().softmax(1) for logits in (found, expected))
    return float((probs_NV - others_NV).abs().sum(1).max()) / 2
