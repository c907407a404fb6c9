"""Forward passes as decoding sees them: reads of a model's sequences, with results in the union and named failures.
Which reads share a pass is decided elsewhere.

Shape suffixes: `N` positions, `V` a member's own vocabulary.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch

from gac_app.decoding.distribution import ReadResult, TokenDistribution, distributions_of
from gac_app.errors import GacError, MemberError, is_interrupt
from gac_app.models.base import Model
from gac_app.models.sequence import ForwardRequest
from gac_app.vocab.mapping import VocabMapping


def compute(
    model: Model, mapping: VocabMapping, requests: list[ForwardRequest], deliver: Callable[[ReadResult], None]
) -> None:
    """Compute all `requests` in one forward pass, then map each one's distributions into the union and deliver them,
    one after another. On a CPU the session of an earlier one continues while a later one is mapped.

    Raises:
        MemberError: the model fails or gives NaN or infinite logits; `kind` says which. Nothing more is delivered.
    """
    started = time.monotonic()
    with failures_named(model):
        counts = [model.take(request) for request in requests]
        is_fixed = len(requests) == 1 and requests[0].sequence.fixed_chunk_prompt_len is not None
        logits = [_read_in_fixed_passes(model, *requests)] if is_fixed else model.read(requests)
        mapped: Iterable[list[TokenDistribution]] = (
            distributions_of(mapping, logits_NV, with_logs=request.with_logs)
            for request, logits_NV in zip(requests, logits, strict=True)
        )
        if model.device.type != "cpu":  # launch all work before the first check, which waits for the device
            mapped = list(mapped)
        elsewhere_s, num_logits = 0.0, 0  # while earlier results are delivered
        for request, count, distributions in zip(requests, counts, mapped, strict=True):
            result = ReadResult(distributions, count)
            if not result.is_finite:
                raise MemberError(model.name, "non-finite", "its logits are not finite numbers (NaN or infinite)")
            mapped_at = time.monotonic()
            result.seconds = mapped_at - started - elsewhere_s
            num_logits += request.num_logits
            if request is requests[-1] and num_logits == sum(counts) and not is_fixed:
                model.costs.note(num_logits, result.seconds)
            deliver(result)
            elsewhere_s += time.monotonic() - mapped_at


def _read_in_fixed_passes(model: Model, request: ForwardRequest) -> torch.Tensor:
    """The wanted logits, `[num_logits, V]`, computed in passes of the model's fixed chunk size."""
    sequence = request.sequence
    found: list[torch.Tensor] = []
    first_wanted = len(request.ids) - request.num_logits
    while (start := len(sequence.ids)) < len(request.ids):
        num_ids = min(model.fixed_chunk(sequence), len(request.ids) - start)
        num_wanted = min(num_ids, start + num_ids - first_wanted)
        [logits_NV] = model.read([request.chunk(num_ids, max(1, num_wanted))])
        if num_wanted > 0:  # the next pass overwrites them
            found.append(logits_NV.clone() if start + num_ids < len(request.ids) else logits_NV)
    return found[0] if len(found) == 1 else torch.cat(found)


@contextmanager
def failures_named(model: Model) -> Iterator[None]:
    """Turn whatever a back end raises, `SystemExit` too, into a MemberError: it ends the session, not the worker."""
    try:
        with torch.inference_mode():
            yield
    except BaseException as error:
        if isinstance(error, GacError) or is_interrupt(error):
            raise
        raise failure_of(model, error) from error


def failure_of(model: Model, error: BaseException) -> GacError:
    """What a session is told of an error."""
    if isinstance(error, GacError):
        return error
    if _is_out_of_memory(error):
        torch.cuda.empty_cache()
        return MemberError(model.name, "out-of-memory", "the device has no memory left for this step")
    return MemberError(model.name, "exception", f"{type(error).__name__}: {error}")


def _is_out_of_memory(error: BaseException) -> bool:
    """torch on a CPU and onnxruntime say so only in words: "can't allocate memory", "Failed to allocate memory"."""
    is_known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return is_known or any(words in str(error) for words in ("allocate memory", "bad_alloc", "bad allocation"))
