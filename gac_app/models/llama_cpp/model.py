"""GGUF models through llama.cpp: full logits, several sequences per forward pass, rewind and fork.

The laws hold in total variation: llama.cpp picks other kernels for larger chunks, so a chunk and single steps give
equal logits only while they use the same kernels (measured on quantised models: at most 0.06 and no argmax changed
in contexts of a hundred tokens, 0.07 where 750 were split differently).
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gac_app.errors import MemberError, ModelLoadError
from gac_app.models.llama_cpp.gguf_model import GgufModel
from gac_app.models.llama_cpp.library import load_weights
from gac_app.models.sequence import ForwardRequest

BATCH_TOKENS = 512  # of one llama_decode call, at most; longer reads are split
_CELLS_STEP = 256  # llama.cpp rounds a sequence's cells up to a multiple of it
_WORTH_FILLING = 5  # from this many steps on, gaps between their slots are filled
_NOBODY = -1  # index of the read that a filler belongs to

_Row = tuple[int, int, int, int, bool]  # request, slot, position, id, is its distribution wanted
_slot = itemgetter(1)


class LlamaCppModel(GgufModel):
    """A GGUF file.

    Args:
        name: the member's name.
        path: the .gguf file.
        options: see `GgufModel`. Memory for all sequences, at full length, is allocated here.

    Attributes:
        weights: the `llama_model *`; several contexts can share it.

    Raises:
        ModelLoadError: the file cannot be loaded.
    """

    engine = "llama.cpp cpu"
    max_batched_ids = 1  # longer reads are not batched with others (see `_chunks`)

    def __init__(self, name: str, path: Path, **options: Any) -> None:
        self.weights = load_weights(path)
        super().__init__(name, self.weights, **options)
        self._context = self._new_context()
        self._memory = self._lib.llama_get_memory(self._context)
        # A longer batch fails an assertion in C. A batch is never longer than the cache.
        self._batch_tokens: int = self._lib.llama_n_batch(self._context)
        self._batch = self._lib.llama_batch_init(self._batch_tokens, 0, 1)

    def _new_context(self) -> Any:
        params = self._lib.llama_context_default_params()
        # Each sequence has its own cells. If cells were shared, their order, and thus the order of sums, would depend
        # on what else runs, and the same prompt would not always give the same text.
        params.kv_unified = False
        params.n_ctx = -(-self.context_length // _CELLS_STEP) * _CELLS_STEP * self.max_sequences
        params.n_batch = params.n_ubatch = BATCH_TOKENS
        params.n_seq_max = self.max_sequences
        params.n_outputs_max_per_seq = BATCH_TOKENS
        params.n_threads = params.n_threads_batch = self.num_threads
        params.swa_full = True  # keeps positions that slid out of the window, for rewinds
        context = self._lib.llama_init_from_model(self.weights, params)
        if context == self._ffi.NULL:
            raise ModelLoadError(f"{self.name}: llama.cpp cannot make a context of {params.n_ctx:,} tokens")
        return context

    # --- sequences

    def copy(self, slot: int, other: int, length: int) -> None:
        self._lib.llama_memory_seq_cp(self._memory, slot, other, -1, -1)

    def truncate(self, slot: int, length: int) -> None:
        if not self._lib.llama_memory_seq_rm(self._memory, slot, length, -1):
            raise MemberError(self.name, "exception", f"its cache cannot be rewound to position {length}")

    # --- forward passes

    def forward(self, requests: list[ForwardRequest]) -> list[torch.Tensor]:
        rows: list[list[np.ndarray[Any, Any]]] = [[] for _ in requests]
        chunks = list(_chunks(requests, self._batch_tokens))
        for index, chunk in enumerate(chunks):
            fillers = self._fillers(chunk)
            is_last = index == len(chunks) - 1
            try:
                for row, owner in self._decode(sorted([*chunk, *fillers], key=_slot) if fillers else chunk):
                    logits_V = self._logits(row)
                    rows[owner].append(logits_V if is_last else logits_V.copy())
            finally:
                for _, slot, position, *_ in fillers:
                    self.truncate(slot, position)
        return [torch.from_numpy(_stacked(row)) for row in rows]

    def _fillers(self, chunk: list[_Row]) -> list[_Row]:
        """Dummy steps that fill the gaps between the slots of a batch of steps.

        llama.cpp computes only consecutive slots together (see `_chunks`), and one more id costs less than a second
        pass over the weights: seven steps of eight slots take 1.35 times as long as all eight (Gemma 3 270M, Q4). The
        dummy ids are dropped right away, so the slot's sequence continues in the same cells.
        """
        if len(chunk) < _WORTH_FILLING:
            return []
        taken = {slot for _, slot, *_ in chunk}
        gaps = [slot for slot in range(min(taken), max(taken)) if slot not in taken]
        if 2 * len(gaps) > len(chunk):
            return []
        positions = [self._lib.llama_memory_seq_pos_max(self._memory, slot) + 1 for slot in gaps]
        if max(positions, default=0) >= self.context_length:
            return []
        return [(_NOBODY, slot, position, chunk[0][3], True) for slot, position in zip(gaps, positions, strict=True)]

    def _decode(self, chunk: list[_Row]) -> list[tuple[int, int]]:
        """Run one chunk. Returns (row of the batch, index of the request) for each wanted distribution."""
        batch = self._batch
        batch.n_tokens = len(chunk)
        batch.token[0 : len(chunk)] = [token_id for *_, token_id, _ in chunk]
        wanted = []
        for row, (owner, slot, position, _, is_wanted) in enumerate(chunk):
            batch.pos[row] = position
            batch.n_seq_id[row], batch.seq_id[row][0] = 1, slot
            batch.logits[row] = is_wanted
            if is_wanted and owner != _NOBODY:
                wanted.append((row, owner))
        status = self._lib.llama_decode(self._context, batch)
        if status != 0:
            raise MemberError(self.name, "exception", f"llama_decode returned {status}")
        return wanted

    def _logits(self, row: int) -> np.ndarray[Any, Any]:
        """The logits of a row of the batch, in memory that the next batch overwrites."""
        pointer = self._lib.llama_get_logits_ith(self._context, row)
        if pointer == self._ffi.NULL:
            raise MemberError(self.name, "exception", "llama.cpp gave no logits")
        num_bytes = 4 * len(self.vocabulary)
        return np.frombuffer(self._ffi.buffer(pointer, num_bytes), dtype=np.float32)

    def close(self) -> None:
        self._lib.llama_batch_free(self._batch)
        self._lib.llama_free(self._context)
        self._lib.llama_model_free(self.weights)


def _stacked(rows: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Rows as one array; a single row is not copied."""
    return rows[0][None] if len(rows) == 1 else np.stack(rows)


def _chunks(requests: list[ForwardRequest], batch_tokens: int) -> Iterator[list[_Row]]:
    """The uncomputed ids of all requests, in batches that fit.

    Single steps share batches, in the order of their slots: llama.cpp computes only consecutive, ascending slots
    together (measured: steps in slots 1 and 0, or 0 and 2, take twice as long as one; in 0 and 1, 1.5 times). A longer
    read (a prefill, or a sequence catching up) is not batched with others: it would run through other kernels, and the
    same prompt would not always give the same text.
    """
    rows = [_rows(owner, request) for owner, request in enumerate(requests)]
    steps = sorted((row[0] for row in rows if len(row) == 1), key=_slot)
    for row in (*(row for row in rows if len(row) > 1), steps):
        yield from (row[start : start + batch_tokens] for start in range(0, len(row), batch_tokens))


def _rows(owner: int, request: ForwardRequest) -> list[_Row]:
    slot, first_wanted = request.sequence.slot, len(request.ids) - request.num_logits
    numbered = enumerate(request.uncomputed, request.start)
    return [(owner, slot, position, token_id, position >= first_wanted) for position, token_id in numbered]
