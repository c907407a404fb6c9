"""Models run by transformers: any causal language model with a KV cache.

Shape suffixes: `N` positions, `V` the model's vocabulary.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch

from gac_app.errors import ModelLoadError
from gac_app.models.hf.attention import Chunk
from gac_app.models.hf.forward_passes import Cache, passes_for
from gac_app.models.hf.tokenized import TokenizedModel
from gac_app.models.sequence import ForwardRequest

_REWINDABLE_LAYERS = {"full_attention", "sliding_attention", "chunked_attention"}


class TransformersModel(TokenizedModel):
    """A loaded causal model in evaluation mode; `loading` makes one. For its arguments see `TokenizedModel`.

    Every sequence has its own KV cache, which keeps positions that slid out of a window, for rewinds. If the model
    allows it (`passes_for`), sequences share forward passes. The number of ids in a pass decides which kernels run, so
    logits are equal up to rounding, not to the bit, and text may differ at near-ties.

    Raises:
        ModelLoadError: the tokenizer or the model's kind of memory does not fit this engine.
    """

    def __init__(self, name: str, model: Any, tokenizer: Any, **options: Any) -> None:
        _refuse_running_state(name, model)
        super().__init__(name, model, tokenizer, **options)
        self._model = model
        self.take_threads()
        self._passes = passes_for(name, model)
        self.max_batched_ids = self._passes.max_batched_ids
        self._caches: defaultdict[int, Cache] = defaultdict(self._passes.new_cache)

    @torch.inference_mode()
    def forward(self, requests: list[ForwardRequest]) -> list[torch.Tensor]:
        chunks = [Chunk(self._caches[one.sequence.slot], one.uncomputed, one.num_logits) for one in requests]
        return [logits_NV.to(self.device, torch.float32) for logits_NV in self._passes.run(chunks)]

    def truncate(self, slot: int, length: int) -> None:
        if length:
            self._caches[slot].rewind(length)
        else:
            self._caches.pop(slot, None)

    def copy(self, slot: int, other: int, length: int) -> None:
        self._caches[other] = self._caches[slot].fork()

    def close(self) -> None:
        self._caches.clear()
        self._caches.default_factory = None  # it holds the passes, and these the weights
        del self._model, self._passes
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _refuse_running_state(name: str, model: Any) -> None:
    kinds = set(getattr(model.config.get_text_config(), "layer_types", None) or ())
    if getattr(model, "_is_stateful", False) or kinds - _REWINDABLE_LAYERS:
        raise ModelLoadError(
            f"{name}: {model.config.model_type} keeps a running state instead of a KV cache and cannot be rewound; "
            "expected a model of attention layers only"
        )
