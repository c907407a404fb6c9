"""What is refused before it is loaded, how devices become accelerate's arguments, and that it writes as the library."""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from gac_app.errors import ModelLoadError
from gac_app.models.hardware.devices import GIB
from gac_app.models.hf.loading import _dtype, _placed, _quantized, adopted
from gac_app.models.hf.model import TransformersModel
from gac_app.models.message import Message
from gac_app.models.sources import ModelFiles
from tests.command_line import run_command
from tests.fakes import after, logits_after
from tests.models import tiny
from tests.models.conftest import check_greedy, load_directory, load_files
from tests.models.source_tools import member

EVIL = """
from pathlib import Path
Path({marker!r}).write_text("ran")
from transformers import LlamaConfig as EvilConfig, LlamaForCausalLM as EvilModel
"""

ENDS = {"known": ["<|endoftext|>", "<|im_end|>"], "configured": ["<|im_end|>"]}


@pytest.fixture
def directory(llama_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(llama_dir, tmp_path / "model"))


def configure(directory: Path, **changes: Any) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


INDEX = "model.safetensors.index.json"
MAP = '{"metadata": {}, "weight_map": {"lm_head.weight": "model-00002-of-00002.safetensors"}}'


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda folder: os.truncate(folder / "model.safetensors", 5000), "model.safetensors is damaged or incomplete"),
        (lambda folder: (folder / INDEX).write_text(MAP), "model-00002-of-00002.safetensors is damaged or incomplete"),
        (lambda folder: (folder / INDEX).write_text(MAP[:50]), "model.safetensors.index.json is not valid JSON"),
        (lambda folder: (folder / "config.json").write_text("null"), "config.json is not valid JSON"),
        (lambda folder: configure(folder, model_type="nonesuch"), "nonesuch"),
    ],
)
def test_a_damaged_file_is_named(damage: Callable[[Path], object], told: str, directory: Path) -> None:
    damage(directory)
    with pytest.raises(ModelLoadError, match=re.escape(told)):
        load_directory(directory)


def test_a_repositorys_code_does_not_run_unless_allowed(directory: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (directory / "evil.py").write_text(EVIL.format(marker=str(marker)))
    configure(directory, auto_map={"AutoConfig": "evil.EvilConfig", "AutoModelForCausalLM": "evil.EvilModel"})
    with pytest.raises(ModelLoadError, match="allow_remote_code: true"):
        load_directory(directory)
    assert not marker.exists()


def test_pickled_weights_are_not_loaded_unless_allowed(directory: Path, llama_dir: Path) -> None:
    from safetensors.torch import load_file

    torch.save(load_file(directory / "model.safetensors"), directory / "pytorch_model.bin")
    (directory / "model.safetensors").unlink()
    with pytest.raises(ModelLoadError, match="safetensors"):
        load_directory(directory)
    allowed = load_directory(directory, allow_pickle=True)
    assert allowed.encode_raw("x") == load_directory(llama_dir).encode_raw("x")


def test_quantization_without_bitsandbytes_says_what_it_lacks(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelLoadError, match="8bit needs the package bitsandbytes"):
        load_directory(directory, quantization="8bit")


@pytest.mark.parametrize(
    ("config", "device", "expected"),
    [
        ({}, "cuda:1", {"device_map": {"": "cuda:1"}}),
        ({}, ("cuda:1", "cuda:3"), {"device_map": "auto", "max_memory": {1: 45 * GIB, 3: 18 * GIB}}),
        ({"max_memory": {"cuda:3": "7GiB"}}, "cuda:3", {"device_map": "auto", "max_memory": {3: 7 * GIB}}),
        (
            {"max_memory": {"cuda:1": "7GiB", "cpu": "9GiB"}},
            "cuda:1",
            {"device_map": "auto", "max_memory": {1: 7 * GIB, "cpu": 9 * GIB}},
        ),
    ],
)
def test_accelerate_is_told_the_devices_and_their_memory(
    config: dict[str, Any], device: Any, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    free = {0: 60 * GIB, 1: 50 * GIB, 3: 20 * GIB, "cpu": 99 * GIB}
    monkeypatch.setattr("accelerate.utils.get_max_memory", lambda: free)
    assert _placed(member(**config), device) == expected


def test_a_model_that_its_devices_do_not_hold_is_refused(directory: Path) -> None:
    with pytest.raises(ModelLoadError, match="tiny: its weights do not fit the memory of cpu"):
        load_directory(directory, max_memory={"cpu": "9kB"})
    assert load_directory(directory, max_memory={"cpu": "1GB"}).encode_raw("x")


def test_two_loads_never_overlap(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers patches its own classes while it loads; an overlap once left a model with a random head."""
    load, lock = AutoModelForCausalLM.from_pretrained, threading.Lock()

    def watched(*args: Any, **options: Any) -> Any:
        assert lock.acquire(blocking=False), "another load is under way"
        try:
            return load(*args, **options)
        finally:
            lock.release()

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", watched)
    with ThreadPoolExecutor(4) as pool:
        models = list(pool.map(load_directory, [directory] * 4))
    heads = [model._model.get_output_embeddings().weight for model in models]
    assert all(torch.equal(head, heads[0]) for head in heads)


def test_a_model_for_a_lent_gpu_is_moved_to_it_whole(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[object] = []
    monkeypatch.setattr(PreTrainedModel, "to", lambda model, device: moved.append(device) or model)
    model = load_files(member(source=str(directory)), ModelFiles(directory, "directory"), directory, "cuda")
    assert moved == ["cuda"]
    assert model.device.type == "cpu", "it was loaded there first"


def test_a_model_is_made_as_configured(llama_dir: Path) -> None:
    config = {"context_length": 77, "max_sequences": 3, "chat_template": "{{ word }}{{ messages[0].content }}"}
    one = member(source=str(llama_dir), chat_template_kwargs={"word": "so "}, **config)
    loaded = load_files(one, ModelFiles(llama_dir, "directory"), llama_dir, num_threads=2)
    tokenizer = AutoTokenizer.from_pretrained(llama_dir)
    given = adopted(one, loaded._model.train(), tokenizer, 2)
    for model in (loaded, given):
        assert (model.name, model.context_length, model.max_sequences, model.num_threads) == ("tiny", 77, 3, 2)
        assert model.vocabulary.decode(model.encode_chat([Message("user", "the end")])) == b"so the end"
        assert not model._model.training


def test_text_that_looks_like_an_end_token_ends_nothing(tmp_path: Path) -> None:
    """As `</s>` of Gemma: it strikes text out in HTML."""
    tokenizer = tiny.save_llama(tmp_path) / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace("<tool>", "</s>"))
    vocabulary = load_directory(tmp_path).vocabulary
    assert vocabulary.token_bytes.index(b"</s>") not in vocabulary.end_ids


def test_end_tokens_are_listed_and_may_be_the_configured_ones(llama_dir: Path, tmp_path: Path) -> None:
    members = [{"name": end_tokens, "source": str(llama_dir), "end_tokens": end_tokens} for end_tokens in ENDS]
    (tmp_path / "config.yaml").write_text(json.dumps({"members": members}))
    done = run_command("vocab", "--json", "--config", str(tmp_path / "config.yaml"), GAC_CACHE=str(tmp_path))
    assert {member["name"]: member["end_tokens"] for member in json.loads(done.stdout)["members"]} == ENDS
    assert "end_tokens" in member().unset, "no digest of a default changes"


@pytest.mark.parametrize(
    ("quantization", "dtype", "expected"),
    [
        ("none", "auto", None),
        ("8bit", "float16", {"load_in_8bit": True}),
        ("4bit", "auto", {"load_in_4bit": True, "bnb_4bit_compute_dtype": torch.bfloat16}),
        ("4bit", "float16", {"load_in_4bit": True, "bnb_4bit_compute_dtype": torch.float16}),
    ],
)
def test_bitsandbytes_is_told_bits_and_precision(
    quantization: str, dtype: str, expected: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("transformers.BitsAndBytesConfig", dict)
    found = _quantized(member(quantization=quantization, dtype=dtype))
    assert found == ({} if expected is None else {"quantization_config": expected})


@pytest.mark.parametrize(
    ("dtype", "device", "expected"),
    [
        ("auto", "cpu", torch.float32),
        ("auto", "cuda:0", "auto"),
        ("auto", ("cuda:0", "cuda:1"), "auto"),
        ("bfloat16", "cpu", torch.bfloat16),
    ],
)
def test_precision_is_the_files_own_on_a_gpu(dtype: str, device: str | tuple[str, ...], expected: Any) -> None:
    assert _dtype(member(dtype=dtype), device) == expected


TEXT = "The capital of France is Paris, def f(x): return the the of 日本. Every café asks its own русский gate again?"


@pytest.fixture(params=["llama", "gemma3"])
def model(request: pytest.FixtureRequest) -> TransformersModel:
    found: TransformersModel = request.getfixturevalue(request.param)
    return found


def test_greedy_continuation_is_that_of_generate(model: TransformersModel) -> None:
    check_greedy(model, model._model, model.encode_raw(TEXT), 30)


@pytest.mark.parametrize("save", [tiny.save_llama, tiny.save_gpt_neo], ids=["packed passes", "single passes"])
def test_a_pass_that_broke_midway_leaves_no_half_read_cache(save: Callable[[Path], Path], tmp_path: Path) -> None:
    model = load_directory(save(tmp_path))
    ids = model.encode_raw(TEXT)
    sequence = model.new_sequence()
    model.read([after(sequence, ids[:9])])
    layer = next(part for part in model._model.modules() if isinstance(part, torch.nn.ModuleList))[-1]
    breaking = layer.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("planted")))
    with pytest.raises(RuntimeError, match="planted"):
        model.read([after(sequence, ids[9:12])])
    breaking.remove()
    torch.testing.assert_close(model.read([after(sequence, ids[9:12])])[0], logits_after(model, ids[:12]))


def test_the_reading_thread_gets_its_number_of_threads(llama: TransformersModel) -> None:
    with ThreadPoolExecutor(1) as thread:
        thread.submit(torch.set_num_threads, 2).result()
        thread.submit(logits_after, llama, [5]).result()
        assert thread.submit(torch.get_num_threads).result() == 1


def test_a_model_with_a_running_state_is_refused(llama: TransformersModel) -> None:
    llama._model.config.layer_types = ["linear_attention", "full_attention"]
    with pytest.raises(ModelLoadError, match="cannot be rewound"):
        TransformersModel("tiny", llama._model, None)


def test_what_is_freed_or_closed_gives_its_memory_back(llama: TransformersModel) -> None:
    sequence = llama.new_sequence()
    llama.read([after(sequence, [5, 6])])
    weights = weakref.ref(llama._model.get_input_embeddings().weight)
    cache = weakref.ref(llama._caches[sequence.slot])
    llama.free(sequence)
    gc.collect()
    assert cache() is None
    llama.close()
    gc.collect()
    assert weights() is None
