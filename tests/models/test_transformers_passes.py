"""Forward passes over several sequences: equal to the library's own on every kind of layer, and as few as possible;
and which models have packed passes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from gac_app.models.hf.attention import KeyValueCache
from gac_app.models.hf.forward_passes import SHARED_IDS, Cache, Chunk, PackedPasses, SinglePasses, passes_for
from tests.examples import FEW
from tests.models.tiny import PACKABLE, build

BOUND = 1e-4


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Bench:
    """A model in its passes, and beside it the same model as the library runs it, without a cache."""

    def __init__(self, kind: str) -> None:
        self.own = build(kind)
        self.passes = passes_for(kind, build(kind))

    def expected(self, ids: list[int]) -> torch.Tensor:
        with torch.inference_mode():
            logits_NV: torch.Tensor = self.own(input_ids=torch.tensor([ids])).logits[0]
        return logits_NV

    def run(self, chunks: list[Chunk]) -> list[torch.Tensor]:
        with torch.inference_mode():
            return self.passes.run(chunks)


@pytest.fixture(scope="module", params=PACKABLE)
def bench(request: pytest.FixtureRequest) -> Bench:
    return Bench(request.param)


@pytest.fixture(scope="module")
def llama() -> Bench:
    return Bench("Llama")


def document(seed: int, length: int) -> list[int]:
    return torch.randint(3, 97, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def assert_near(found_NV: torch.Tensor, expected_NV: torch.Tensor) -> None:
    assert found_NV.shape == expected_NV.shape
    assert float((found_NV.softmax(-1) - expected_NV.softmax(-1)).abs().sum(-1).max()) / 2 <= BOUND


def test_every_kind_of_layer_can_be_packed(bench: Bench) -> None:
    assert isinstance(bench.passes, PackedPasses)


@pytest.mark.slow
@given(data=st.data())
@FEW
def test_any_course_gives_what_the_library_computes(bench: Bench, data: st.DataObject) -> None:
    held: list[tuple[Cache, list[int]]] = [(bench.passes.new_cache(), []) for _ in range(3)]  # the ids in each
    for turn in range(4):
        for cache, ids in held:
            if data.draw(st.booleans()):
                length = data.draw(st.integers(0, len(ids)))
                cache.rewind(length)
                del ids[length:]
        if data.draw(st.booleans()):
            cache, ids = held[data.draw(st.integers(0, 2))]
            held[data.draw(st.integers(0, 2))] = cache.fork(), list(ids)
        reading = data.draw(st.lists(st.sampled_from(range(3)), min_size=1, unique=True))
        counts = [data.draw(st.sampled_from([1, 1, 2, 7, 40])) for _ in reading]
        chunks, expected = [], []
        for index, count in zip(reading, counts, strict=True):
            (cache, ids), new = held[index], document(data.draw(st.integers(0, 99)) + turn, count)
            num_logits = data.draw(st.integers(1, count))
            chunks.append(Chunk(cache, new, num_logits))
            ids += new
            expected.append(bench.expected(ids)[-num_logits:])
        for found_NV, expected_NV in zip(bench.run(chunks), expected, strict=True):
            assert_near(found_NV, expected_NV)
        assert [cache.length for cache, _ in held] == [len(ids) for _, ids in held]


@pytest.fixture
def counted(llama: Bench) -> Iterator[list[tuple[int, int]]]:
    """(ids read, distributions computed) of every forward pass."""
    passes: list[tuple[int, int]] = []
    model = llama.passes._model  # type: ignore[attr-defined]
    hook = model.lm_head.register_forward_hook(lambda _, __, logits: heads.append(logits.shape[1]))
    heads: list[int] = []
    after = model.register_forward_hook(
        lambda _, __, options, ___: passes.append((options["input_ids"].shape[1], heads.pop())), with_kwargs=True
    )
    yield passes
    hook.remove()
    after.remove()


def test_steps_and_short_reads_share_a_pass(llama: Bench, counted: list[tuple[int, int]]) -> None:
    caches = [llama.passes.new_cache() for _ in range(4)]
    llama.run([Chunk(cache, [5], 1) for cache in caches])
    llama.run([Chunk(caches[0], [6], 1), Chunk(caches[1], [7, 8, 9], 2), Chunk(caches[2], [3] * 5, 1)])
    llama.run([Chunk(caches[3], [3] * 5, 1)])
    assert counted == [(4, 4), (9, 4), (5, 1)]


def test_long_reads_have_passes_to_themselves(llama: Bench, counted: list[tuple[int, int]]) -> None:
    long = SHARED_IDS + 1
    lengths = [1, long, 2, long + 5]
    found = llama.run([Chunk(llama.passes.new_cache(), document(n, n), 1) for n in lengths])
    assert sorted(counted) == [(3, 2), (long, 1), (long + 5, 1)]
    for logits_NV, length in zip(found, lengths, strict=True):
        assert_near(logits_NV, llama.expected(document(length, length))[-1:])


def test_a_step_copies_no_more_than_its_own_position() -> None:
    cache, addresses = KeyValueCache(), set()
    for num in (1000, *[1] * 200):
        states = torch.zeros(1, 2, num, 3)
        cache.write(0, states, states)
        cache.length += num
        addresses.add(cache.positions(0, 0, 1)[0].data_ptr())
    assert len(addresses) == 1
    assert cache.positions(0, 0, 1)[0].untyped_storage().nbytes() <= 1.25 * 1200 * 2 * 3 * 4


def test_a_model_over_several_devices_computes_all_rows(llama: Bench) -> None:
    model = build("Llama")
    model.hf_device_map = {"model": 0, "lm_head": 1}
    passes = passes_for("spread", model)
    chunks = [Chunk(passes.new_cache(), document(1, 6), 2), Chunk(passes.new_cache(), document(2, 4), 1)]
    with torch.inference_mode():
        found = passes.run(chunks)
    assert_near(found[0], llama.expected(document(1, 6))[-2:])
    assert_near(found[1], llama.expected(document(2, 4))[-1:])


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


# What asks a tensor for its value or for a shape that depends on it: on a GPU the host would wait for the device.
WAITING = {"_local_scalar_dense", "item", "nonzero", "is_nonzero", "masked_select", "equal", "unique", "_unique2"}


# GPT-2 looks for padding in the ids and Mixtral chooses experts by value: the library's doing.
@pytest.mark.parametrize("bench", ["Llama", "Mistral", "Cohere2", "Llama4"], indirect=True)
def test_no_pass_asks_a_tensor_for_its_value(bench: Bench) -> None:
    caches = [bench.passes.new_cache() for _ in range(3)]
    with torch.inference_mode(), _Recorder() as recorder:
        bench.passes.run([Chunk(cache, document(1, n), 1) for cache, n in zip(caches, (3, 12, 50), strict=True)])
        bench.passes.run([Chunk(cache, [5], 1) for cache in caches])
    assert recorder.operations
    assert not recorder.operations & WAITING


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


def test_others_may_go_on_using_the_model() -> None:
    model, untouched = build("Mistral"), build("Mistral")
    assert isinstance(passes_for("mistral", model), PackedPasses)
    ids = torch.arange(3, 23)[None]
    with torch.inference_mode():
        found, expected = model(input_ids=ids).logits, untouched(input_ids=ids).logits
    assert torch.equal(found, expected)
