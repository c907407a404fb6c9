"""Forward passes as decoding sees them: reads of a model's sequences, with results in the union and named failures.
Which reads share a pass is decided elsewhere.

Shape suffixes: `N` positions, `V` a member's own vocabulary.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from collections.abc import Sequence as SequenceOf
from contextlib import contextmanager

import torch

from gac_app.decoding.distribution import MayDraft, PendingRead, ReadResult, distributions_of
from gac_app.errors import GacError, MemberError, is_interrupt
from gac_app.models.base import Model, Read, Sequence
from gac_app.vocab.mapping import VocabMapping


def take_results(
    model: Model, mapping: VocabMapping, reads: list[Read], may_draft: SequenceOf[MayDraft | None]
) -> Iterator[ReadResult]:
    """Compute all `reads` in one forward pass, then map each read's distributions into the union, one after another.

    On a CPU each is mapped when the caller asks for it, so that the session of an earlier one continues meanwhile.

    Args:
        may_draft: per read; None = no draft after it.

    Raises:
        MemberError: the model fails or gives NaN or infinite logits; `kind` says which.
    """
    started = time.monotonic()
    counts = [read.sequence.num_uncomputed for read in reads]
    with failures_named(model):
        is_fixed = len(reads) == 1 and reads[0].sequence.num_fixed is not None
        logits = [_read_in_fixed_passes(model, *reads)] if is_fixed else model.read(reads)
    elsewhere_s = 0.0  # while the caller uses earlier results
    mapped = (
        ReadResult(distributions_of(mapping, logits_NV, with_logs=read.with_logs), count, draft)
        for read, logits_NV, count, draft in zip(reads, logits, counts, may_draft, strict=True)
    )
    for result in _checked(model, mapped):
        handed_over = time.monotonic()
        result.seconds = handed_over - started - elsewhere_s
        yield result
        elsewhere_s += time.monotonic() - handed_over


def _checked(model: Model, results: Iterator[ReadResult]) -> Iterator[ReadResult]:
    if model.device.type != "cpu":
        with failures_named(model):  # launch all work before the first check, which waits for the device
            results = iter(list(results))
    while True:
        with failures_named(model):
            result = next(results, None)
            if result and not result.is_finite:
                raise MemberError(model.name, "non-finite", "its logits are not finite numbers (NaN or infinite)")
        if not result:
            return
        yield result


def draft_after(
    result: ReadResult, sequence: Sequence, may_draft: MayDraft | None, mapping: VocabMapping
) -> PendingRead | None:
    """The read of a member's draft after `result`; its ids are appended to the sequence. None = no draft."""
    if may_draft is None:
        return None
    may_draft.is_over = True  # before the check: whoever finds it False is in time to turn it on
    if not may_draft.is_on:
        return None
    ids = () if result.draft_id is None else mapping.feed(result.draft_id)
    if not ids:  # END
        return None
    sequence.extend(list(ids))
    return PendingRead(len(ids), may_draft=MayDraft(choose=may_draft.choose))


def read_chunk(model: Model, sequence: Sequence, num_ids: int) -> None:
    """Read the first `num_ids` uncomputed ids, without a distribution. Raises MemberError as `take_results`."""
    with failures_named(model):
        model.read_chunk(sequence, num_ids)


def _read_in_fixed_passes(model: Model, read: Read) -> torch.Tensor:
    """The wanted logits, `[num_logits, V]`, computed in passes of the model's fixed chunk size."""
    sequence = read.sequence
    found: list[torch.Tensor] = []
    first_wanted = len(sequence.ids) - read.num_logits
    while num_ids := min(model.fixed_chunk(sequence), sequence.num_uncomputed):
        num_wanted = min(num_ids, sequence.num_computed + num_ids - first_wanted)
        logits_NV = model.read_chunk(sequence, num_ids, max(1, num_wanted))
        if num_wanted > 0:
            found.append(logits_NV.clone() if sequence.num_uncomputed else logits_NV)  # the next pass overwrites them
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
