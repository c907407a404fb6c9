"""How reads are put into llama.cpp's batches; needs neither the library nor a model."""

from __future__ import annotations

from gac_app.models.llama_cpp.model import _chunks
from gac_app.models.sequence import ForwardRequest, KVSequence


def request(slot: int, ids: tuple[int, ...], num_computed: int = 0) -> ForwardRequest:
    return ForwardRequest(KVSequence(slot, ids=ids[:num_computed]), ids)


def slots_of(*requests: ForwardRequest, batch_tokens: int = 512) -> list[list[int]]:
    """The slots in each batch."""
    return [[row[1] for row in chunk] for chunk in _chunks([*requests], batch_tokens)]


def test_steps_share_a_batch_in_the_order_of_their_slots() -> None:
    assert slots_of(request(2, (7,)), request(0, (7, 8), 1), request(1, (9,))) == [[0, 1, 2]]


def test_longer_reads_have_batches_to_themselves() -> None:
    assert slots_of(request(1, (7,)), request(0, (7, 8, 9)), batch_tokens=2) == [[0, 0], [0], [1]]
