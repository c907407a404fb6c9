"""From files, dictionaries, names and models in hand to the same ensemble."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import gac_app
from gac_app import Config, ConfigError, Gac, ModelLoadError, RequestError, load
from gac_app.library.sources import described
from tests.models.tiny import save_gemma3, save_llama

HOW: dict[str, Any] = {"mode": "every-step", "max_new_tokens": 8, "reproducible": "on"}
RANDOM = [{"name": "a", "source": "random:1"}, {"name": "b", "source": "random:2"}]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {"llama": save_llama(folder / "llama"), "gemma": save_gemma3(folder / "gemma")}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAC_CACHE", str(tmp_path))


def pairs(folders: dict[str, Path]) -> list[tuple[Any, Any]]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    make = AutoModelForCausalLM.from_pretrained, AutoTokenizer.from_pretrained
    return [(make[0](folder), make[1](folder)) for folder in folders.values()]


def digest_of(gac: Gac) -> tuple[tuple[str, ...], str]:
    with gac:
        return gac.member_names, gac.answer("Hello there").digest


@pytest.mark.slow
def test_models_in_hand_answer_as_their_files_do(folders: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    members = "".join(f"- {{name: {name}, source: {folder}}}\n" for name, folder in folders.items())
    file.write_text(f"members:\n{members}settings: {{mode: every-step, max_new_tokens: 8, reproducible: 'on'}}\n")
    by_file = digest_of(load(file))
    assert by_file[0] == ("llama", "gemma")
    in_hand = pairs(folders)
    assert digest_of(load(in_hand, **HOW)) == by_file
    assert digest_of(load(list(folders.values()), **HOW)) == by_file
    assert digest_of(load(in_hand, **HOW)) == by_file, "a second ensemble of the same models"
    inputs = in_hand[0][1]("Hello", return_tensors="pt")
    assert in_hand[0][0].generate(**inputs, max_new_tokens=3, do_sample=False).shape[1] > 3


def test_adapters_in_the_layers_count(folders: dict[str, Path]) -> None:
    """PEFT wraps a model that it has put adapters into, and hides its arguments."""

    class Wrapped(torch.nn.Module):
        def __init__(self, base: Any) -> None:
            super().__init__()
            self.base, self.config, self.device, self.generate = base, base.config, base.device, base.generate

        def get_base_model(self) -> Any:
            return self.base

    model, tokenizer = pairs(folders)[0]
    model.lm_head = torch.nn.Sequential(model.lm_head)  # stands for a layer with an adapter
    model.get_output_embeddings = lambda: model.lm_head[0]
    assert digest_of(load([(Wrapped(model), tokenizer)], **HOW))[1] == digest_of(load([folders["llama"]], **HOW))[1]


def test_members_get_names_from_their_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    listed = ["hub:org/name@main", "org/name", "model", "hub:org/x#some.gguf", "Qwen2.5-Coder-0.5B-Instruct"]
    config, in_hand = described(listed)
    assert (config.member_names, in_hand) == (
        ("name", "name-2", "model", "some", "Qwen2.5-Coder-0.5B-Instruct"), {},
    )  # fmt: skip
    assert [member.source for member in config.members][1:3] == ["hub:org/name", str(tmp_path / "model")]
    assert config.members[4].sha256, "as the default configuration has it"


@pytest.mark.parametrize("source", [RANDOM, {"members": RANDOM}, Config.model_validate({"members": RANDOM})])
def test_a_folder_given_comes_before_the_environment_s(source: Any) -> None:
    assert described(source, cache_dir="given")[0].cache_dir == Path("given")


def test_a_configuration_keeps_its_views_and_plug_ins() -> None:
    maths = {"name": "maths", "source": "hub:org/name", "adapter": "adapters/maths"}
    terse = {"name": "terse", "of": "maths", "system_prompt": "Be brief."}
    data = {"members": [maths, terse], "plugins": ["/own.py"]}
    own = described(data)[0]
    for source in (data, own):
        config = described(source, plugins=["/given.py"])[0]
        assert config.members == own.members
        assert config.plugins == ("/own.py", "/given.py")


def test_a_file_may_name_what_given_plug_ins_register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    plugin, file = tmp_path / "given.py", tmp_path / "mine.yaml"
    plugin.write_text("from gac_app.models.backends import backend\nbackend('given')(lambda _: None)\n")
    file.write_text("members: [{name: a, source: 'random:1', backend: given}]\n")
    assert described(file, plugins=["~/given.py"])[0].plugins == (str(plugin),)


@pytest.mark.parametrize(("source", "told"), [
    ([7], "members: got int; expected a source"),
    ([("a", "b")], r"members: got \(str, str\); expected a causal language model"),
    ([{"source": "random:1"}, "random:2"], "members.0.name: Field required"), ({"members": []}, "members: "),
    ({"members": RANDOM, "colour": 1}, "colour: unknown key"), ("nowhere.yaml", "cannot be read"),
    (["./nowhere"], r"there is no .*nowhere; expected a directory"),
    (["~no-such-user/model.gguf"], "there is no .*/~no-such-user/model.gguf"),
    (["no/such/folder"], r"there is no .*no/such/folder; expected a directory"),
    (["hub:org/-name"], r"-name: hub:org/-name: .*Repo id"),
])  # fmt: skip
def test_what_is_no_source_is_told(source: Any, told: str) -> None:
    with pytest.raises((ConfigError, ModelLoadError), match=told):
        load(source)


@pytest.mark.slow
def test_with_control_tokens_kept_the_mean_is_the_paper_s(folders: dict[str, Path]) -> None:
    """Of transformers' own softmax over whole vocabularies, token by token."""
    text, probs = "The capital of France is", dict[bytes, float]()
    members = [{"name": name, "source": str(folder), "device": "cpu"} for name, folder in folders.items()]
    with load({"members": members, "control_tokens": "keep"}, mode="every-step", alignment="paper") as gac:
        for model, tokenizer in pairs(folders):
            own_V = torch.softmax(model(**tokenizer(text, return_tensors="pt")).logits[0, -1].float(), 0)
            vocabulary = gac.ensemble.members[Path(model.name_or_path).name].mapping.vocabulary
            for own, prob in enumerate(own_V.tolist()):
                token = b"" if own in vocabulary.end_ids else vocabulary.token_bytes[own] or b""
                probs[token] = probs.get(token, 0.0) + prob / len(members)
        with gac.decode(text, raw=True) as decoding:
            mixture_U = decoding.look().mixture
        expected_U = torch.tensor([probs.pop(gac.union.token(token_id), 0.0) for token_id in range(len(gac.union))])
    assert not probs, "each of their tokens is in the union"
    torch.testing.assert_close(mixture_U, expected_U, atol=1e-6, rtol=1e-4)


def test_wrong_settings_are_told_before_anything_is_loaded() -> None:
    with pytest.raises(RequestError, match="threshold"):
        load(["hub:no/where"], threshold=7)


def test_a_template_gets_its_arguments(folders: dict[str, Path]) -> None:
    [model, tokenizer] = pairs(folders)[0]
    tokenizer.chat_template += "{% if enable_thinking %}think{% endif %}"
    ids = []
    for kwargs in ({}, {"enable_thinking": True}):
        with load([(model, tokenizer)], chat_template_kwargs=kwargs) as gac:
            [member] = gac.ensemble.members.values()
            ids.append(member.model.vocabulary.decode(member.encode([gac_app.Message("user", "Hi")])))
    assert ids[1] == ids[0] + b"think"


def test_a_member_without_a_template_is_warned_of(folders: dict[str, Path], caplog: pytest.LogCaptureFixture) -> None:
    [(model, tokenizer), _] = pairs(folders)
    load([(model, tokenizer)]).close()
    tokenizer.chat_template = None
    load([{"name": "a", "source": str(folders["llama"]), "chat_template": ""}]).close()
    assert "chat_template" not in caplog.text
    load([(model, tokenizer)]).close()
    assert "llama has no chat_template: it reads chats as `User: ... Assistant:`" in caplog.text


def test_public_names_are_there_and_light() -> None:
    assert all(getattr(gac_app, name) is not None for name in gac_app.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        gac_app.nothing  # noqa: B018
    assert set(dir(gac_app)) == set(gac_app.__all__)


@pytest.mark.process
def test_libraries_are_loaded_only_for_members_that_want_them() -> None:
    code = (
        "import sys, gac_app; gac_app.Config; print('torch' in sys.modules, 'transformers' in sys.modules)\n"
        "config = gac_app.Config.model_validate({'members': [{'name': 'a', 'source': 'random:1'}]})\n"
        "with gac_app.load(config): print('torch' in sys.modules, 'transformers.modeling_utils' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["False False", "True False"]
