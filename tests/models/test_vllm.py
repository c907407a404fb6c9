"""Members that vLLM computes in this program: as if they were here, whatever becomes of its answers."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

import gac_app
from gac_app.errors import ConfigError, MemberError, ModelLoadError
from gac_app.member_config import MemberConfig
from gac_app.models.backends import LoadRequest
from gac_app.models.hf.model import TransformersModel
from gac_app.models.remote import vllm as vllm_member
from gac_app.models.remote.model import RemoteModel
from gac_app.models.remote.vllm import arguments_of, load_vllm
from gac_app.models.sequence import ForwardRequest, KVSequence
from gac_app.models.sources import resolve
from tests.fakes import WAIT_S, after, logits_after
from tests.models import tiny
from tests.models.fake_vllm import FakeVllm
from tests.services.house import until

IDS = [5, 6, 7, 8]


@pytest.fixture
def fake(llama: TransformersModel, monkeypatch: pytest.MonkeyPatch) -> FakeVllm:
    fake = FakeVllm(llama)
    monkeypatch.setattr(vllm_member, "imported", lambda _: fake)
    return fake


@pytest.fixture
def model(fake: FakeVllm, llama_dir: Path) -> Iterator[RemoteModel]:
    with closing(load(llama_dir)) as model:
        fake.chunks.clear()
        yield model
    assert fake.is_shut
    assert fake.num_open == 0


def load(source: Path, **options: object) -> RemoteModel:
    member = MemberConfig.model_validate({"name": "far", "source": str(source), "backend": "vllm", **options})
    return load_vllm(LoadRequest(member, lambda: resolve(member, Path("unused"), lambda _: None), "cpu", 1, Path()))


def told(model: RemoteModel, sequence: KVSequence, ids: list[int], num_logits: int = 1) -> list[int]:
    """The likeliest token after each of the last ids, of which these are new."""
    return [top.ids[0] for top in model.read_partial(after(sequence, ids, num_logits))]


def expected(llama: TransformersModel, ids: Sequence[int], num_logits: int = 1) -> list[int]:
    return logits_after(llama, ids, num_logits).argmax(1).tolist()


def test_all_tokens_give_the_model_itself(model: RemoteModel, llama: TransformersModel, fake: FakeVllm) -> None:
    assert model.engine == "vLLM fake cpu"
    assert model.context_length == 511, "vLLM wants room for a token of its own"
    top = model.fetch_more(KVSequence(0), IDS, len(model.vocabulary))
    expected_V = logits_after(llama, IDS)[0].log_softmax(0)
    torch.testing.assert_close(torch.tensor(top.logprobs), expected_V[top.ids])


def test_a_sequence_is_one_request(model: RemoteModel, llama: TransformersModel, fake: FakeVllm) -> None:
    sequence = model.new_sequence()
    for ids in (IDS, [9], [10, 11, 12]):
        assert told(model, sequence, ids) == expected(llama, sequence.ids)
    assert [*fake.chunks.values()] == [[4, 1, 3]]
    assert told(model, sequence, []) == expected(llama, sequence.ids), "the same ids are not sent again"
    assert told(model, sequence, [13, 14], 2) == expected(llama, sequence.ids, 2), "each position is asked for"
    assert [*fake.chunks.values()] == [[4, 1, 3, 1, 1]]
    model.free(sequence)


def test_a_rewind_opens_it_anew(model: RemoteModel, llama: TransformersModel, fake: FakeVllm) -> None:
    sequence, other = model.new_sequence(), model.new_sequence()
    for one in (sequence, other):
        told(model, one, IDS)
    [anew] = model.read_partial(ForwardRequest(sequence, (*IDS[:2], 30, 31)))
    assert [anew.ids[0]] == expected(llama, [5, 6, 30, 31])
    assert [*fake.chunks.values()] == [[4], [4], [4]]
    assert fake.num_open == 2
    model.free(sequence)
    assert told(model, model.new_sequence(), [40]) == expected(llama, [40])
    assert fake.num_open == 2, "a freed sequence's request has ended"


@pytest.mark.parametrize("fault", ["lose", "delay", "repeat", "raise"])
def test_a_fault_changes_no_answer(fault: str, model: RemoteModel, llama: TransformersModel, fake: FakeVllm) -> None:
    sequence = model.new_sequence()
    sequence.timeout_s = 1.0 if fault == "lose" else WAIT_S  # nothing else is waited for in vain
    told(model, sequence, IDS)
    fake.faults.append(fault)
    for own in (9, 10):
        assert told(model, sequence, [own]) == expected(llama, sequence.ids)
    anew = [[4, 1, 1]] if fault == "delay" else [[4, 1], [5, 1]]
    assert [*fake.chunks.values()] == anew
    assert fake.num_open == 1


def test_a_dead_engine_is_started_again(model: RemoteModel, llama: TransformersModel, fake: FakeVllm) -> None:
    sequence = model.new_sequence()
    told(model, sequence, IDS)
    fake.errored, fake.why_not = True, "no memory"
    with pytest.raises(MemberError, match="far: vLLM, which computes far, failed: planned; see its log"):
        told(model, sequence, [9])
    assert "failed: no memory" in model.why_failing()
    fake.why_not = ""
    assert model.why_failing() == ""
    assert fake.num_started == 2
    assert told(model, sequence, [9]) == expected(llama, [*IDS, 9])
    assert model.why_failing() == ""
    assert fake.num_started == 2


def test_fewer_tokens_than_asked_are_an_error(model: RemoteModel, fake: FakeVllm) -> None:
    fake.most_told = 2
    sequence = model.new_sequence()
    with pytest.raises(MemberError, match="told of 2 tokens and was asked for 64"):
        told(model, sequence, IDS)


def test_versions_without_streams_get_all_ids(fake: FakeVllm, llama_dir: Path, llama: TransformersModel) -> None:
    fake.StreamingInput = None
    with closing(load(llama_dir)) as model:
        sequence = model.new_sequence()
        for ids in (IDS, [9]):
            assert told(model, sequence, ids) == expected(llama, sequence.ids)
        until(lambda: fake.num_open == 0, "for each request to end")


def test_closing_ends_a_wait(fake: FakeVllm, llama_dir: Path) -> None:
    model = load(llama_dir)
    sequence = model.new_sequence()
    fake.faults.append("lose")
    with ThreadPoolExecutor(1) as thread:
        asking = thread.submit(told, model, sequence, IDS)
        while fake.faults:
            time.sleep(0.001)
        model.close()
        with pytest.raises(MemberError):
            asking.result(WAIT_S)
    with pytest.raises(MemberError, match="was closed"):
        told(model, sequence, IDS)


def test_a_missing_vllm_is_said(llama_dir: Path) -> None:
    with pytest.raises(ModelLoadError, match="far: backend 'vllm' needs vLLM, which is not installed"):
        load(llama_dir)


def test_what_vllm_cannot_take_is_refused(fake: FakeVllm, llama_dir: Path) -> None:
    with pytest.raises(ConfigError, match="far: vLLM has no 8bit"):
        load(llama_dir, quantization="8bit")
    for wrong, said in (
        ({"ray": {}}, "no two of them"),
        ({"max_memory": {"cuda:0": "1GiB"}}, "gpu_memory_utilization"),
        ({"device": ("cuda:0", "cpu")}, "GPUs or the CPU"),
        ({"backend": "auto", "vllm": {"seed": 1}}, "without backend: vllm"),
    ):
        with pytest.raises(ValueError, match=said):
            load(llama_dir, **wrong)  # type: ignore[arg-type]


def test_a_script_that_would_run_twice_is_refused(
    fake: FakeVllm, llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "script.py").write_text("import gac_app\n")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(tmp_path / "script.py"), raising=False)
    with pytest.raises(ConfigError, match=r"far: vLLM starts a process .*script\.py: put its code below `if __name__"):
        load(llama_dir)
    assert not fake.num_started
    (tmp_path / "script.py").write_text('if __name__ == "__main__": ...')
    load(llama_dir).close()


def test_the_engine_is_told_what_the_member_has(fake: FakeVllm, llama_dir: Path) -> None:
    load(llama_dir, context_length=100, max_sequences=3, vllm={"enforce_eager": True, "max_logprobs": 5}).close()
    told = fake.arguments
    assert (told["model"], told["max_model_len"], told["max_num_seqs"]) == (str(llama_dir), 100, 6)
    assert (told["dtype"], told["enforce_eager"], told["max_logprobs"]) == ("float32", True, -1)
    assert fake.environment["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0", "no worker that spins beside the engine"
    assert "VLLM_ENABLE_V1_MULTIPROCESSING" not in os.environ
    member = MemberConfig(name="a", source="b", backend="vllm", quantization="4bit")
    placed: dict[str, Any] = arguments_of(member, ("cuda:1", "cuda:3"))
    assert (placed["device_ids"], placed["tensor_parallel_size"]) == ([1, 3], 2)
    assert (placed["dtype"], placed["quantization"]) == ("auto", "bitsandbytes")


@pytest.mark.parametrize("settings", [{}, {"mode": "every-step"}, {"temperature": 0.8, "seed": 3}])
def test_an_ensemble_writes_the_same(settings: dict[str, Any], fake: FakeVllm, llama_dir: Path, tmp_path: Path) -> None:
    other = {"name": "other", "source": str(tiny.save_gemma3(tmp_path / "other"))}
    texts = []
    for backend in ("vllm", "transformers"):
        members = [{"name": "far", "source": str(llama_dir), "backend": backend, "context_length": 511}, other]
        with gac_app.load({"members": members}, max_new_tokens=12, **settings) as gac:
            texts.append(gac.answer("The capital", raw=True).text)
    assert texts[0] == texts[1] != ""
