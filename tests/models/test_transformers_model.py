"""TransformersModel on tiny models: equal to the library's own generation, rewinding windows, vocabulary, chat."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gac_app.errors import ModelLoadError
from gac_app.models.hf.model import TransformersModel
from gac_app.models.sequence import KVSequence
from tests.fakes import after, logits_after
from tests.models import tiny
from tests.models.conftest import load_directory

TEXT = "The capital of France is Paris, def f(x): return the the of 日本. Every café asks its own русский gate again?"


@pytest.fixture(params=["llama", "gemma3"])
def model(request: pytest.FixtureRequest) -> TransformersModel:
    found: TransformersModel = request.getfixturevalue(request.param)
    return found


def read(model: TransformersModel, sequence: KVSequence, ids: list[int], num_logits: int = 1) -> torch.Tensor:
    return model.read([after(sequence, ids, num_logits)])[0]


def test_greedy_continuation_is_that_of_generate(model: TransformersModel) -> None:
    prompt = model.encode_raw(TEXT)
    sequence, found = model.new_sequence(), []
    new = prompt
    for _ in range(30):
        new = [int(read(model, sequence, new)[-1].argmax())]
        found += new
    expected = model._model.generate(
        torch.tensor([prompt]), do_sample=False, max_new_tokens=30, min_new_tokens=30, eos_token_id=None, pad_token_id=0
    )
    assert found == expected[0, len(prompt) :].tolist()


@pytest.mark.parametrize("save", [tiny.save_llama, tiny.save_gpt_neo], ids=["packed passes", "single passes"])
def test_a_pass_that_broke_midway_leaves_no_half_read_cache(save: Callable[[Path], Path], tmp_path: Path) -> None:
    model = load_directory(save(tmp_path))
    ids = model.encode_raw(TEXT)
    sequence = model.new_sequence()
    read(model, sequence, ids[:9])
    layer = next(part for part in model._model.modules() if isinstance(part, torch.nn.ModuleList))[-1]
    breaking = layer.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("planted")))
    with pytest.raises(RuntimeError, match="planted"):
        read(model, sequence, ids[9:12])
    breaking.remove()
    torch.testing.assert_close(read(model, sequence, ids[9:12]), logits_after(model, ids[:12]))


def test_the_reading_thread_gets_its_number_of_threads(llama: TransformersModel) -> None:
    seen: list[int] = []

    def work() -> None:
        torch.set_num_threads(2)
        logits_after(llama, [5])
        seen.append(torch.get_num_threads())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [1]


def test_a_model_with_a_running_state_is_refused(llama: TransformersModel) -> None:
    llama._model.config.layer_types = ["linear_attention", "full_attention"]
    with pytest.raises(ModelLoadError, match="cannot be rewound"):
        TransformersModel("tiny", llama._model, None)


def test_a_closed_model_lets_go_of_its_weights(llama: TransformersModel) -> None:
    logits_after(llama, [5, 6])
    weights = weakref.ref(llama._model.get_input_embeddings().weight)
    llama.close()
    gc.collect()
    assert weights() is None
