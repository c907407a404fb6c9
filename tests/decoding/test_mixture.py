"""The argmax is that of the whole distribution, which is made only where the members' top tokens do not tell it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gac_app.decoding.alignment.boundary_conflict import merge
from gac_app.decoding.distribution.token_distribution import TokenDistribution
from gac_app.decoding.loop.mixture import Mixture
from gac_app.decoding.rules.combiner import Combiner
from gac_app.decoding.rules.shipped.averaging import Mean


def known(probs_U: torch.Tensor, num_top: int = 8) -> TokenDistribution:
    top = probs_U.topk(min(num_top, len(probs_U)))
    distribution = TokenDistribution(probs_U)
    distribution.top = list(zip(top.indices.tolist(), top.values.tolist(), strict=True))
    return distribution


class Counted(Combiner):
    """Counts how often the whole distribution is made."""

    def __init__(self) -> None:
        super().__init__(Mean())
        self.num = 0

    def __call__(self, probs: Mapping[str, torch.Tensor], shares: Mapping[str, float]) -> torch.Tensor:
        self.num += 1
        return super().__call__(probs, shares)


@given(
    seed=st.integers(0, 2**32),
    num=st.integers(1, 4),
    size=st.sampled_from([3, 20, 400]),
    sharpness=st.sampled_from([0.0, 0.1, 1.0, 5.0]),
    decimals=st.sampled_from([1, 7]),
    num_top=st.sampled_from([1, 2, 8]),
    lengths=st.lists(st.integers(1, 12), max_size=6),
)
def test_all_that_is_told_is_so_of_the_whole(
    seed: int, num: int, size: int, sharpness: float, decimals: int, num_top: int, lengths: list[int]
) -> None:
    logits = sharpness * torch.randn(num, size, generator=torch.Generator().manual_seed(seed))
    distributions = torch.softmax(logits, 1).round(decimals=decimals)
    weights = torch.softmax(logits[:, 0], 0).tolist()
    expected = {f"m{i}": known(probs_U, num_top) for i, probs_U in enumerate(distributions)}
    mixture = Mixture(expected, dict(zip(expected, weights, strict=True)), Combiner(Mean()))
    mixture.conflicts = ranges(lengths, size)
    found, largest = mixture.argmax_id, mixture.largest(5)
    assert mixture.probs_U[found] >= mixture.probs_U.max() * (1 - 1e-6)
    values = mixture.probs_U.sort(descending=True).values
    assert [prob for _, prob in largest] == pytest.approx(values[: len(largest)].tolist(), rel=1e-6)
    assert [mixture.prob_of(i) for i, _ in largest] == pytest.approx([p for _, p in largest], rel=1e-6)
    assert [float(mixture.probs_U[i]) for i, _ in largest] == pytest.approx([p for _, p in largest], rel=1e-6)
    for name, probs_U in zip(expected, distributions, strict=True):
        merged_U = merge(probs_U.clone(), ranges(lengths, size))
        for token_id in range(0, size, 7):
            prob, rank = mixture.prob_and_rank_of(name, token_id)
            assert prob == pytest.approx(float(merged_U[token_id]), rel=1e-6)
            num_larger = [int((merged_U > prob * factor).sum()) for factor in (1 + 1e-6, 1 - 1e-6)]
            assert num_larger[0] < rank <= num_larger[1] + 1


def ranges(lengths: list[int], size: int) -> list[range]:
    """Next to each other with gaps of one, as many as there is room for."""
    starts = [sum(lengths[:index]) + index for index in range(len(lengths))]
    return [range(i, i + length) for i, length in zip(starts, lengths, strict=True) if i + length <= size]


def test_tokens_as_likely_share_the_better_rank() -> None:
    """The first twenty or so are known by the top, the others are counted."""
    distribution = TokenDistribution(torch.tensor([0.2, 0.3, 0.2, 0.2, *[0.001] * 50, *[0.0005] * 100]))
    ranks = [Mixture({"m": distribution}, {"m": 1.0}).prob_and_rank_of("m", token_id)[1] for token_id in range(154)]
    assert ranks == [2, 1, 2, 2, *[5] * 50, *[55] * 100]


def test_a_clear_argmax_is_told_by_the_members_top_tokens() -> None:
    counted = Counted()
    sure, other = torch.full((100,), 0.001), torch.full((100,), 0.01)
    sure[7] = 0.9
    mixture = Mixture({"a": known(sure), "b": known(other)}, {"a": 0.5, "b": 0.5}, counted)
    assert (mixture.argmax_id, counted.num) == (7, 0)
    assert float(mixture.probs_U[7]) == pytest.approx(0.455)
    assert float(mixture.probs_U[8]) == pytest.approx(0.0055)
    assert counted.num == 1, "made once"
