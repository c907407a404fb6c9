"""A model that another process holds answers as one that is here, whatever happens to the messages."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gac_app.errors import ModelLoadError
from gac_app.executors.hosted import Host, HostedGguf, HostedRandom, HostedTransformers, ModelHost, hosted
from gac_app.member_config import MemberConfig
from gac_app.models.backends import LoadRequest
from gac_app.models.random_model import RandomModel
from gac_app.models.sources import ModelFiles, resolve
from tests.executors.flaky_host import FlakyHost
from tests.fakes import FakeModel, after, config_of, ensemble_of, steps_and_end
from tests.models.conftest import llama_dir as llama_dir
from tests.models.conftest import load_directory
from tests.models.tiny_gguf import save_llama_gguf

SETTINGS = {"max_new_tokens": 6, "temperature": 0.8, "seed": 3}


def hosted_random(name: str, seed: int, host: Host) -> HostedRandom:
    model = HostedRandom(name, seed)
    model.use(host)
    return model


@given(seed=st.integers(0, 10_000), prompts=st.lists(st.text(max_size=20).filter(str.strip), min_size=1, max_size=3))
def test_no_message_changes_an_answer(seed: int, prompts: list[str]) -> None:
    config = config_of(["a", "b"], SETTINGS)
    near = [RandomModel(name, number) for number, name in enumerate(["a", "b"])]
    far = [hosted_random(m.name, n, FlakyHost(lambda n=n: RandomModel("", n), seed + n)) for n, m in enumerate(near)]
    digests = []
    for models in (near, far):
        with closing(ensemble_of(models, config)) as ensemble:
            ends = [steps_and_end(ensemble.generate(prompt, config.settings))[1] for prompt in prompts]
        digests.append([end.digest for end in ends])
    assert digests[0] == digests[1]


@pytest.mark.parametrize("fixed_chunk_prompt_len", [None, 10])
def test_a_host_that_begins_anew_reads_the_same_chunks(fixed_chunk_prompt_len: int | None) -> None:
    model = hosted_random("a", 0, ModelHost(FakeModel()))
    model.chunk_size = 4
    sequence, ids = model.new_sequence(), list(range(65, 79))
    sequence.fixed_chunk_prompt_len = fixed_chunk_prompt_len
    model.read([after(sequence, ids[:-1])])
    anew = FakeModel()
    anew.chunk_size = 4
    model._host = ModelHost(anew)
    [found_NV] = model.read([after(sequence, ids[-1:])])
    there = FakeModel()
    assert torch.equal(found_NV, there.read([after(there.new_sequence(), ids)])[0])
    assert anew.num_read_at_once == ([4, 4, 4, 2] if fixed_chunk_prompt_len is None else [4, 4, 2, 1, 1, 1, 1])


@pytest.mark.parametrize("fixed_chunk_prompt_len", [None, 10])
def test_of_a_copy_a_host_uses_no_more_than_is_asked(fixed_chunk_prompt_len: int | None) -> None:
    """Of another conversation's sequence that is what both chats begin with, in whole chunks where these are fixed."""
    model = hosted_random("a", 0, ModelHost(there := FakeModel()))
    model.chunk_size = there.chunk_size = 4
    donor, ids = model.new_sequence(), list(range(65, 79))
    donor.fixed_chunk_prompt_len = fixed_chunk_prompt_len and 6
    model.read([after(donor, ids[:6])])
    copied = model.fork(donor)
    model.rewind(copied, 4)
    copied.fixed_chunk_prompt_len, there.num_read_at_once = fixed_chunk_prompt_len, []
    model.read([after(copied, ids[4:10])])
    assert there.num_read_at_once == [4, 2]


def test_another_model_is_refused() -> None:
    with pytest.raises(ModelLoadError, match=r"^a: the files here have another vocabulary"):
        hosted_random("a", 0, ModelHost(RandomModel("a", 1)))


def test_files_are_described_without_their_weights(llama_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "llama").mkdir()
    for path in llama_dir.iterdir():
        if path.suffix == ".json":
            (tmp_path / "llama" / path.name).write_bytes(path.read_bytes())
    member = MemberConfig.model_validate({"name": "far", "source": str(tmp_path / "llama"), "ray": {}})
    files = resolve(member, tmp_path, lambda _: None)
    model = hosted(LoadRequest(member, lambda: files, "Ray", 1, tmp_path))
    assert isinstance(model, HostedTransformers)
    there = load_directory(llama_dir)
    model.use(ModelHost(there))
    found, expected = (one.read([after(one.new_sequence(), one.encode_raw("the model"))])[0] for one in (model, there))
    assert torch.equal(found, expected)


def test_a_gguf_file_is_described_by_llama_cpp(llama_dir: Path, tmp_path: Path) -> None:
    path = save_llama_gguf(llama_dir, tmp_path / "tiny.gguf")
    member = MemberConfig.model_validate({"name": "far", "source": str(path), "ray": {}})
    model = hosted(LoadRequest(member, lambda: ModelFiles(path, "gguf"), "Ray", 1, tmp_path))
    assert isinstance(model, HostedGguf)
    assert model.vocabulary.decode(model.encode_raw("the model")).endswith(b"the model")
    there = RandomModel("far", 1)
    there.engine = "transformers cuda torch.bfloat16"
    with pytest.raises(ModelLoadError, match=r"^far: transformers, .* GGUF file .*; name .*, or reserve no GPU$"):
        model.use(ModelHost(there))
