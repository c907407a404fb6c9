"""The random model is reproducible, and its seeds have vocabularies that only partly agree."""

from __future__ import annotations

import pytest
import torch

from gac_app.models.random_model import RandomModel, make_vocabulary
from gac_app.models.sequence import KVSequence
from tests.fakes import after


def logits_V(model: RandomModel, text: str) -> torch.Tensor:
    return model.read([after(model.new_sequence(), model.encode_raw(text))])[0][0]


def test_other_seeds_and_contexts_differ() -> None:
    model, same = RandomModel("m", seed=1), make_vocabulary(1)
    other = RandomModel("m", seed=2, vocabulary=same)
    assert not torch.equal(logits_V(model, "a"), logits_V(other, "a"))
    assert not torch.equal(logits_V(model, "a"), logits_V(model, "b"))


def test_seeds_share_the_bytes_and_some_words() -> None:
    one, other = make_vocabulary(1).texts(), make_vocabulary(2).texts()
    assert one & other >= {bytes([byte]) for byte in range(256)}
    assert one - other
    assert other - one


def test_sharpness_makes_it_surer() -> None:
    confidences = [
        float(logits_V(RandomModel("m", seed=1, sharpness=s), "the").softmax(0).max()) for s in (0.1, 3.0, 30.0)
    ]
    assert confidences == sorted(confidences)
    assert confidences[0] < 0.1
    assert confidences[2] > 0.5


@pytest.mark.parametrize(
    ("fixed_chunk_prompt_len", "sizes"),
    [(10, {0: 4, 1: 3, 3: 1, 4: 4, 8: 2, 9: 1, 10: 1, 12: 1}), (8, {4: 4, 8: 1}), (None, {0: 1, 5: 1})],
)
def test_fixed_chunks_are_counted_from_the_first_id(fixed_chunk_prompt_len: int | None, sizes: dict[int, int]) -> None:
    model = RandomModel("a", 1)
    model.chunk_size = 4
    for start, size in sizes.items():
        assert (
            model.fixed_chunk(KVSequence(0, ids=(1,) * start, fixed_chunk_prompt_len=fixed_chunk_prompt_len)) == size
        ), start
