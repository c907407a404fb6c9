"""A packed layer gives what the plain one gives to float32 rounding, and is taken where it was found the faster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from gac_app.models.hf import packed_linear
from gac_app.models.hf.packed_linear import PackedLinear, pack

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")


def linear(num_in: int, num_out: int, has_bias: bool = False) -> nn.Linear:
    torch.manual_seed(num_in + num_out)
    return nn.Linear(num_in, num_out, bias=has_bias)


@pytest.fixture
def prefer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Let one of the two products seem the faster."""

    def prefer(product: Any) -> None:
        monkeypatch.setattr(packed_linear, "_seconds", lambda tried, _: 1.0 if tried is product else 2.0)

    return prefer


@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("shape", [(1, 96), (2, 96), (1, 1, 96), (1, 5, 96), (2, 3, 96), (4, 9, 96), (70, 96)])
def test_it_gives_what_the_plain_layer_gives(shape: tuple[int, ...], has_bias: bool) -> None:
    plain = linear(96, 160, has_bias)
    rows = torch.randn(shape)

    with torch.inference_mode():
        found, expected = PackedLinear(plain)(rows), plain(rows)

    assert found.shape == expected.shape
    assert found.is_contiguous()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_it_takes_rows_of_any_strides() -> None:
    plain = linear(96, 160)
    rows = torch.randn(3, 5, 192)[:, ::2, ::2]

    with torch.inference_mode():
        torch.testing.assert_close(PackedLinear(plain)(rows), plain(rows), rtol=1e-5, atol=1e-5)


def test_large_float32_layers_are_packed_where_they_gain(prefer: Callable[[Any], None]) -> None:
    prefer(packed_linear._packed_product)
    model = nn.ModuleDict({"large": linear(512, 512), "small": linear(8, 8), "narrow": linear(512, 512).bfloat16()})

    pack(model)

    assert isinstance(model["large"], PackedLinear)
    assert type(model["small"]) is type(model["narrow"]) is nn.Linear


def test_a_packed_layer_shares_the_weights_that_it_packed(prefer: Callable[[Any], None]) -> None:
    """Several models look at the type of a layer's weights before they call it."""
    prefer(packed_linear._packed_product)
    model = nn.ModuleDict({"large": linear(512, 512, has_bias=True)})
    weight, bias = model["large"].weight, model["large"].bias

    pack(model)

    assert isinstance(model["large"], PackedLinear)
    assert model["large"].weight is weight
    assert model["large"].bias is bias
    assert set(model.state_dict()) == {"large.weight", "large.bias"}


def test_weights_that_an_embedding_shares_stay_its_own(prefer: Callable[[Any], None]) -> None:
    prefer(packed_linear._packed_product)
    model = nn.ModuleDict({"embedding": nn.Embedding(600, 512), "head": linear(512, 600)})
    model["head"].weight = model["embedding"].weight

    pack(model)

    with torch.inference_mode():
        rows = model["embedding"](torch.tensor([3, 599]))
        torch.testing.assert_close(model["head"](rows), rows @ model["embedding"].weight.T, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("memory_bytes", "is_packed"), [(4 * 2**20, True), (4 * 2**20 - 1, False), (None, False)])
def test_a_model_too_large_to_pack_stays_as_it_is(
    memory_bytes: int | None, is_packed: bool, prefer: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    prefer(packed_linear._packed_product)
    monkeypatch.setattr(packed_linear, "main_memory_bytes", lambda: memory_bytes)
    model = nn.ModuleDict({"large": linear(512, 512)})  # 1 MiB

    pack(model)

    assert isinstance(model["large"], PackedLinear) is is_packed


def test_where_the_plain_product_is_faster_it_stays(prefer: Callable[[Any], None]) -> None:
    prefer(nn.functional.linear)
    model = nn.ModuleDict({"large": linear(512, 512)})

    pack(model)

    assert type(model["large"]) is nn.Linear


def test_nothing_is_changed_where_torch_cannot_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(weight: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("not for this processor")

    monkeypatch.setattr(packed_linear, "_packed", fail)
    model = nn.ModuleDict({"large": linear(512, 512)})

    pack(model)

    assert type(model["large"]) is nn.Linear
