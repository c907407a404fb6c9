"""Which models have packed passes."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch

from gac_app.models.hf.forward_passes import Chunk, PackedPasses, SinglePasses, passes_for
from tests.models.tiny_kinds import build


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("Bloom", {}),  # no positions from outside
        (
            "GPTNeo",
            {"attention_types": [[["global", "local"], 1]], "num_layers": 2, "num_hidden_layers": 2},
        ),  # attention of its own
        ("Gemma2", {}),  # caps attention logits, which sdpa cannot
        ("Llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}}),
    ],
)
def test_what_does_not_fit_is_read_singly(kind: str, config: dict[str, Any]) -> None:
    model = build(kind, **config)
    own = model.config._attn_implementation
    assert isinstance(passes_for(kind, model), SinglePasses)
    assert model.config._attn_implementation == own


def test_a_model_that_differs_in_shared_passes_is_read_singly(caplog: pytest.LogCaptureFixture) -> None:
    model = build("Llama")

    # A layer that mixes neighbouring rows, whichever sequence they are of.
    def mixed(_module: Any, _args: Any, hidden: torch.Tensor) -> torch.Tensor:
        return hidden + hidden.roll(1, dims=1)

    model.model.layers[1].mlp.register_forward_hook(mixed)
    with caplog.at_level(logging.WARNING):
        passes = passes_for("mixer", model)
    assert isinstance(passes, SinglePasses)
    assert model.config._attn_implementation == "sdpa"
    assert "mixer: its sequences are read one after the other" in caplog.text


def test_a_model_that_breaks_in_a_shared_pass_is_read_singly(caplog: pytest.LogCaptureFixture) -> None:
    model = build("Llama")

    def picky(_module: Any, args: Any, options: Any) -> None:
        if not hasattr(options["attention_mask"], "shape") and options["attention_mask"] is not None:
            raise TypeError("expected a tensor for a mask")

    model.model.layers[1].register_forward_pre_hook(picky, with_kwargs=True)
    with caplog.at_level(logging.WARNING):
        passes = passes_for("picky", model)
    assert isinstance(passes, SinglePasses)
    assert "expected a tensor for a mask" in caplog.text
    with torch.inference_mode():
        assert passes.run([Chunk(passes.new_cache(), [5, 6], 1)])[0].shape == (1, 97)


def test_others_may_go_on_using_the_model(caplog: pytest.LogCaptureFixture) -> None:
    model, untouched = build("Mistral"), build("Mistral")
    assert isinstance(passes_for("mistral", model), PackedPasses)
    ids = torch.arange(3, 23)[None]
    with torch.inference_mode():
        found, expected = model(input_ids=ids).logits, untouched(input_ids=ids).logits
    assert torch.equal(found, expected)
