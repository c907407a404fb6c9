"""How reads are put into llama.cpp's batches; needs neither the library nor a model."""

from __future__ import annotations

from gac_app.models.base import Read, Sequence
from gac_app.models.llama_cpp.model import _chunks


def slots_of(*sequences: Sequence, batch_tokens: int = 512) -> list[list[int]]:
    """The slots in each batch."""
    return [[row[1] for row in chunk] for chunk in _chunks([Read(sequence) for sequence in sequences], batch_tokens)]


def test_steps_share_a_batch_in_the_order_of_their_slots() -> None:
    assert slots_of(Sequence(2, [7]), Sequence(0, [7, 8], num_computed=1), Sequence(1, [9])) == [[0, 1, 2]]


def test_longer_reads_have_batches_to_themselves() -> None:
    assert slots_of(Sequence(1, [7]), Sequence(0, [7, 8, 9]), batch_tokens=2) == [[0, 0], [0], [1]]
