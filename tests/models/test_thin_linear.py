"""The product taken for few rows is the plain one to float32 rounding, and is taken where it was found the faster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from gac_app.models import thin_linear
from gac_app.models.thin_linear import MAX_ROWS, ThinLinear, make_thin, thin_product


def linear(num_in: int, num_out: int, has_bias: bool = False) -> nn.Linear:
    torch.manual_seed(num_in + num_out)
    return nn.Linear(num_in, num_out, bias=has_bias)


@pytest.fixture
def prefer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Let one of the two products seem the faster."""

    def prefer(product: Any) -> None:
        monkeypatch.setattr(thin_linear, "_seconds", lambda tried, *_: 1.0 if tried is product else 2.0)

    return prefer


@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("shape", [(1, 96), (2, 96), (1, 1, 96), (1, 5, 96), (2, 3, 96), (4, 9, 96)])
def test_it_gives_what_the_plain_layer_gives(shape: tuple[int, ...], has_bias: bool) -> None:
    plain = linear(96, 160, has_bias)
    thin = ThinLinear(plain, frozenset(range(1, MAX_ROWS + 1)))
    rows = torch.randn(shape)

    with torch.inference_mode():
        found, expected = thin(rows), plain(rows)

    assert found.shape == expected.shape
    assert found.is_contiguous()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_layers_share_their_weights_and_are_changed_where_they_gain(prefer: Callable[[Any], None]) -> None:
    prefer(thin_product)
    model = nn.ModuleDict({"large": linear(512, 512), "small": linear(8, 8), "narrow": linear(512, 512).bfloat16()})
    large = model["large"].weight

    make_thin(model)

    assert isinstance(model["large"], ThinLinear)
    assert model["large"].thin_rows == frozenset(range(1, MAX_ROWS + 1))
    assert model["large"].weight is large
    assert type(model["small"]) is type(model["narrow"]) is nn.Linear


def test_nothing_is_changed_where_the_plain_product_is_the_faster(prefer: Callable[[Any], None]) -> None:
    prefer(nn.functional.linear)
    model = nn.ModuleDict({"large": linear(512, 512)})

    make_thin(model)

    assert type(model["large"]) is nn.Linear
