"""Models that an inference server computes: as if they were here, and a clear word where the server fails."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import torch

import gac_app
from gac_app.config import Config
from gac_app.errors import MemberError, ModelLoadError
from gac_app.loading import load_ensemble
from gac_app.member_config import MemberConfig, ServerConfig
from gac_app.models.backends import LoadRequest
from gac_app.models.base import Model
from gac_app.models.hf.model import TransformersModel
from gac_app.models.remote.model import MAX_UNSEEN_MASS, RemoteModel, load_remote
from gac_app.models.remote.servers import connect
from gac_app.models.sequence import KVSequence
from gac_app.models.sources import resolve
from gac_app.services.members import Members, MemberState
from tests.fakes import after, logits_after
from tests.models import tiny
from tests.models.conftest import load_directory
from tests.models.fake_inference import KEY, NAME, FakeInference, served

APIS = ["llama-server", "vllm", "sglang"]
TEXT = "The capital of France is"
STEP = KVSequence(0)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's files without its weights."""
    folder = tiny.save_llama(tmp_path_factory.mktemp("remote"))
    shutil.move(folder / "model.safetensors", folder.parent / "weights")
    return folder


@pytest.fixture
def fake(llama: TransformersModel) -> FakeInference:
    return FakeInference(llama)


@pytest.fixture
def url(fake: FakeInference) -> Iterator[str]:
    with served(fake) as address:
        yield address


def member_of(directory: Path, url: str, api: str = "llama-server", **server: object) -> MemberConfig:
    config = {"name": "far", "source": str(directory), "server": {"url": url, "api": api, **server}}
    return MemberConfig.model_validate(config)


def load(member: MemberConfig) -> RemoteModel:
    assert member.server
    files = resolve(member, Path("unused"), lambda _: None, set())
    return load_remote(LoadRequest(member, lambda: files, "cpu", 1, Path("unused")), member.server)


@pytest.fixture
def model(directory: Path, url: str) -> Iterator[RemoteModel]:
    """What llama-server computes."""
    with closing(load(member_of(directory, url))) as model:
        yield model


def probs_after(model: Model, text: str, num_logits: int = 1) -> torch.Tensor:
    return logits_after(model, model.encode_raw(text), num_logits).softmax(1)


@pytest.mark.parametrize("api", APIS)
def test_all_tokens_give_the_model_itself(api: str, directory: Path, url: str, llama: TransformersModel) -> None:
    with closing(load(member_of(directory, url, api, top_logprobs=100_000))) as model:
        assert model.engine == f"{api} {url}"
        assert model.vocabulary.token_bytes == llama.vocabulary.token_bytes
        assert model.vocabulary.end_ids == llama.vocabulary.end_ids
        torch.testing.assert_close(probs_after(model, TEXT, 3), probs_after(llama, TEXT, 3))


@pytest.mark.slow
@pytest.mark.parametrize("api", [*APIS, "openai"])
def test_answers_end_where_the_servers_context_does(api: str, directory: Path, url: str, fake: FakeInference) -> None:
    """A server wants room for the token that it takes itself."""
    fake.context_length = 56
    with gac_app.load({"members": [member_of(directory, url, api, top_logprobs=100_000)]}) as gac:
        answer = gac.answer("The capital " * 9, raw=True)
    assert (answer.reason, answer.detail) == ("length", f"the context of far is full ({fake.longest} tokens)")
    assert fake.longest == (49 if api == "sglang" else 55)


def test_untold_tokens_share_the_rest(directory: Path, url: str, llama: TransformersModel, fake: FakeInference) -> None:
    fake.most = 5
    with closing(load(member_of(directory, url, top_logprobs=5))) as model:
        found, exact = probs_after(model, TEXT)[0], probs_after(llama, TEXT)[0]
    top = exact.topk(5)
    torch.testing.assert_close(found[top.indices], top.values)
    others = torch.ones(len(found), dtype=torch.bool)
    others[top.indices] = False
    left = float(1 - top.values.sum())
    torch.testing.assert_close(found[others], torch.full((len(found) - 5,), left / (len(found) - 5)))


def test_a_large_rest_is_asked_about(directory: Path, url: str, llama: TransformersModel, fake: FakeInference) -> None:
    with closing(load(member_of(directory, url, top_logprobs=2))) as model:
        fake.asked.clear()
        found, exact = probs_after(model, TEXT)[0], probs_after(llama, TEXT)[0]
    size = len(model.vocabulary)
    most = next(num for num in (2, 32, size) if float(exact.topk(num).values.sum()) >= 1 - MAX_UNSEEN_MASS)
    assert fake.asked == [num for num in (2, 32, size) if num <= most]
    assert float((found - exact).abs().sum()) <= 2 * MAX_UNSEEN_MASS


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda _: {}, "unexpected: KeyError"),
        (lambda _: [], "unexpected: TypeError"),
        (lambda _: b"<html>", "something else than JSON"),
        (lambda _: b" " * 100_000, "an answer without end"),
        (lambda _: None, "broke the connection off"),
        (lambda _: {"completion_probabilities": [{"top_logprobs": []}]}, "no tokens"),
        (lambda _: b'{"completion_probabilities": [{"top_logprobs": [{"id": 1, "logprob": NaN}]}]}', "else than JSON"),
        (lambda _: {"completion_probabilities": [{"top_logprobs": [{"id": 1, "logprob": 3}]}]}, "no logarithms"),
        (lambda _: {"completion_probabilities": [{"top_logprobs": [{"id": 99999, "logprob": -1}]}]}, "the id 99,999"),
        (lambda _: {"completion_probabilities": [{"top_logprobs": [{"id": 1, "logprob": -1}] * 2}]}, "no distribution"),
        (lambda _: {"completion_probabilities": [{"top_logprobs": [{"id": -1, "logprob": -1}]}]}, "the id -1"),
    ],
)
def test_a_bad_answer_is_the_members_failure(
    broken: Callable[[Any], Any], said: str, model: RemoteModel, fake: FakeInference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gac_app.models.remote.transport._MOST_BYTES", 99_999)
    fake.broken = broken
    with pytest.raises(MemberError, match=said) as caught:
        probs_after(model, TEXT)
    assert (caught.value.member, caught.value.kind) == ("far", "exception")
    assert said in model.why_failing()
    fake.broken = None
    assert model.why_failing() == ""
    assert probs_after(model, TEXT).shape == (1, len(model.vocabulary))


@pytest.mark.parametrize("after", ["", "0", "soon", "date"])
def test_a_busy_server_is_asked_again(after: str, model: RemoteModel, fake: FakeInference) -> None:
    expected = probs_after(model, TEXT)
    fake.busy = [(status, formatdate(usegmt=True) if after == "date" else after) for status in (429, 500, 503)]
    torch.testing.assert_close(probs_after(model, TEXT), expected)
    assert not fake.busy


@pytest.mark.parametrize("is_date", [False, True])
@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_step_waits_while_it_can(is_date: bool, is_stopped: bool, model: RemoteModel, fake: FakeInference) -> None:
    after = formatdate(time.time() + 3600, usegmt=True) if is_date else "3600"
    step = KVSequence(0, timeout_s=7200 if is_stopped else 60)
    if is_stopped:
        step.stopped.set()
    fake.busy = [(503, after)]
    with pytest.raises(MemberError, match="/completion answered 503") as caught:
        model.fetch_more(step, [1], 2)
    assert caught.value.kind == ("timeout" if is_stopped else "exception"), "a stop is no failure"


@pytest.mark.parametrize("absent", [{"busy": [(503, "")] * 3}, {"broken": lambda _: None}])
def test_a_server_that_is_not_there_yet_is_awaited(
    absent: dict[str, Any], directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The card says what for, until it answers or the program ends."""
    monkeypatch.setattr("gac_app.services.members.AGAIN_S", 0.001)
    fake = FakeInference(load_directory(tiny.save_llama(tmp_path)), **absent)
    told: list[MemberState] = []

    def tell(state: MemberState) -> None:
        told.append(state)
        if len(told) == 5:
            fake.broken = None

    with served(fake) as url:
        config = Config.model_validate({"members": [member_of(directory, url)]})
        members = Members(config, tell)
        load_ensemble(config, members).close()
        assert [state.phase for state in told[:2]] == ["waiting", "loading"]
        assert {state.phase for state in told[2:-1]} == {"waiting"}
        assert told[2].detail.startswith(url)
        assert told[2].detail.endswith("; it is asked again until it answers")
        assert told[-1].phase == "ready"
        fake.status = 503
        members.close()
        with pytest.raises(ModelLoadError, match="answered 503"):
            load_ensemble(config, members)


def test_another_model_is_refused(directory: Path, url: str, fake: FakeInference, gemma3: TransformersModel) -> None:
    fake.model = gemma3
    with pytest.raises(ModelLoadError, match=f"^far: {url} reads a text as other tokens"):
        load(member_of(directory, url))


def test_a_tokeniser_may_put_a_space_first(tmp_path: Path) -> None:
    spaced = load_directory(tiny.save_spaced_llama(tmp_path))
    with served(FakeInference(spaced)) as url, closing(load(member_of(tmp_path, url))) as model:
        assert model.encode_raw(TEXT) == spaced.encode_raw(TEXT)


def test_a_server_that_is_not_there_is_named(directory: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"^far: http://127\.0\.0\.1:9 cannot be reached"):
        load(member_of(directory, "http://127.0.0.1:9"))


def test_the_key_is_a_variable(directory: Path, url: str, fake: FakeInference, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.key = KEY
    with pytest.raises(ModelLoadError, match="answered 401"):
        load(member_of(directory, url))
    for unusable in ("", "typed’", "two\nlines"):
        monkeypatch.setenv("MY_KEY", unusable)
        with pytest.raises(ModelLoadError, match=rf"^the environment variable MY_KEY should hold the key of {url}, in"):
            load(member_of(directory, url, api_key_env="MY_KEY"))
    monkeypatch.setenv("MY_KEY", f"{KEY}\n")
    load(member_of(directory, url, api_key_env="MY_KEY")).close()


def test_vllm_is_asked_by_the_models_name(directory: Path, url: str) -> None:
    load(member_of(directory, url, "vllm", model=NAME)).close()
    with pytest.raises(ModelLoadError, match="/v1/models answered something unexpected"):
        load(member_of(directory, url, "vllm", model="another"))


@pytest.mark.parametrize("address", ["127.0.0.1:80", "ftp://a", "http://", "http://me:secret@a", "http://a?key=b"])
def test_an_address_is_checked(address: str, directory: Path) -> None:
    with pytest.raises(ValueError, match="expected an address such as"):
        member_of(directory, address)


def test_a_server_needs_no_back_end(directory: Path) -> None:
    with pytest.raises(ValueError, match="no back end where a server computes"):
        MemberConfig.model_validate({**member_of(directory, "http://a").model_dump(), "backend": "transformers"})


def test_a_limit_is_asked_once(model: RemoteModel, fake: FakeInference) -> None:
    fake.most = 64
    fake.asked.clear()
    ids = model.encode_raw(TEXT)
    assert [len(model.fetch_more(STEP, ids, num).ids) for num in (64, 100, 64, 100)] == [64, 0, 64, 0]
    assert fake.asked == [64, 64]
    fake.most = 2
    with pytest.raises(MemberError, match="/completion answered 400"):
        model.fetch_more(STEP, ids, 64)


@pytest.mark.parametrize("api", [*APIS, "openai"])
def test_single_tokens_are_told(api: str, directory: Path, url: str, fake: FakeInference) -> None:
    with closing(load(member_of(directory, url, api))) as model:
        logprobs = fake.logprobs([1, 2])
        [letter] = model.encode_raw("a")
        wanted = [2, 5, 6, 7, letter, 200, 201]  # an end token, and parts of characters
        first = int(logprobs.argmax())
        told = model.fetch_logprobs(STEP, [1, 2], wanted, (first, float(logprobs[first])))
        assert told is None if api in ("vllm", "openai") else told == pytest.approx(logprobs[wanted].tolist(), abs=1e-4)
        if told:
            alone = [model.fetch_logprobs(STEP, [1, 2], [own], (2, float(logprobs[2]))) for own in (200, 201)]
            assert alone == [pytest.approx([float(logprobs[own])], abs=1e-4) for own in (200, 201)]


@pytest.mark.parametrize("prob", [1e300, "NaN"])
def test_single_tokens_have_probabilities(prob: object, model: RemoteModel, fake: FakeInference) -> None:
    told = [{"id": 5, "prob": 0.5}, {"id": 6, "prob": prob}]
    fake.broken = lambda _: {"completion_probabilities": [{"top_probs": told}]}
    with pytest.raises(MemberError, match=r"told of no logarithms of probabilities: \[(69|nan)"):
        model.fetch_logprobs(STEP, [1, 2], [6], (5, -0.5))


def test_llama_server_tells_of_half(model: RemoteModel, fake: FakeInference, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gac_app.models.remote.servers._MOST_WANTED", 2)
    logprobs = fake.logprobs([1, 2])
    half = range(len(logprobs) // 2)
    known = int(logprobs.argmax()), float(logprobs.max())
    assert model.fetch_logprobs(STEP, [1, 2], [*half], known) == pytest.approx(logprobs[: len(half)].tolist(), abs=1e-4)
    assert model.fetch_logprobs(STEP, [1, 2], [*half, len(half)], known) is None


@pytest.mark.parametrize("api", ["llama-server", "sglang"])
def test_old_versions_tell_of_no_single_tokens(api: str, directory: Path, url: str, fake: FakeInference) -> None:
    with closing(load(member_of(directory, url, api))) as model:
        fake.is_old = True
        assert [model.fetch_logprobs(STEP, [1, 2], [5, 6], (7, -0.5)) for _ in range(2)] == [None, None]
        assert fake.num_old == 1, "it is asked once"


def test_an_answer_spoilt_by_its_batch_is_asked_again(directory: Path, url: str, fake: FakeInference) -> None:
    with closing(load(member_of(directory, url, "vllm"))) as model:
        right = model.fetch_more(STEP, [1, 2], 64)
        fake.num_spoilt = 2
        assert model.fetch_more(STEP, [1, 2], 64) == right
        fake.num_spoilt = 100
        with pytest.raises(MemberError, match=f"far: {url} told of 2 tokens and was asked for 64"):
            model.fetch_more(STEP, [1, 2], 64)


def test_fewer_than_asked_are_all_that_it_tells(model: RemoteModel, fake: FakeInference) -> None:
    fake.broken = lambda answer: {"completion_probabilities": [{"top_logprobs": [{"id": 5, "logprob": -1}]}]}
    assert model.fetch_more(STEP, [1], 64) == ([5], [-1.0], -1.0)


def test_a_model_that_was_changed_is_named(model: RemoteModel, url: str, fake: FakeInference) -> None:
    sequence = model.new_sequence()
    assert len(model.read_partial(after(sequence, [1, 2]))[0].ids) == 64
    fake.name = "another"
    model.read_partial(after(sequence, [3]))  # it is looked at once an answer
    other = model.new_sequence()
    with pytest.raises(MemberError, match=f"far: {url} has another model .*another, not tiny.*: load that model"):
        model.read_partial(after(other, [1]))
    assert f"{url} has another model" in model.why_failing()
    fake.name = NAME
    assert model.why_failing() == ""


def test_texts_of_tokens_tell_ids(directory: Path, url: str, llama: TransformersModel, fake: FakeInference) -> None:
    with closing(load(member_of(directory, url, "openai", top_logprobs=100_000))) as model:
        [told] = model.read_partial(after(model.new_sequence(), model.encode_raw(TEXT)))
        fake.broken = lambda _: {"choices": [{"logprobs": {"top_logprobs": [{"": -1.0}]}}]}
        assert model.fetch_more(STEP, [1], 1).ids == [2], "of the two end tokens the one that is configured"
        ends = {"a": -1.0, "<|im_end|>": -2.0, "<|endoftext|>": -3.0, "": -4.0}
        fake.broken = lambda _: {"choices": [{"logprobs": {"top_logprobs": [ends]}}]}
        assert model.fetch_more(STEP, [1], 4) == ([*model.encode_raw("a"), 2, 0], [-1.0, -2.0, -3.0], 0.0)
    exact = probs_after(llama, TEXT)[0].log()
    for own, logprob in zip(told.ids, told.logprobs, strict=True):
        token = llama.vocabulary.token_bytes[own]
        equal = [i for i, other in enumerate(llama.vocabulary.token_bytes) if other == token]
        assert any(logprob == pytest.approx(float(exact[i]), abs=1e-4) for i in equal)
        assert own not in llama.vocabulary.byte_ids
    assert llama.vocabulary.token_bytes.index(b" \xe6\x97") in told.ids
    untold = set(range(len(exact))) - set(told.ids)
    assert max(float(exact[own]) for own in untold) <= told.most + 1e-4


@pytest.mark.parametrize(
    ("texts", "num", "most"),
    [(["a", "b"], 2, -1.0), (["a", "no token's"], 1, 0.0), (["a", "�"], 1, 0.0), (["�", "��"], 0, 0.0)],
)
def test_a_text_of_no_token_bounds_no_other(
    url: str, fake: FakeInference, texts: list[str], num: int, most: float
) -> None:
    vocabulary = fake.model.vocabulary
    with closing(connect(ServerConfig(url=url, api="openai"))) as server:
        server.use(replace(vocabulary, token_bytes=(*vocabulary.token_bytes, "�".encode())))  # as most models have it
        fake.broken = lambda _: {"choices": [{"logprobs": {"top_logprobs": [dict.fromkeys(texts, -1.0)]}}]}
        told = server.next_tokens([1], 2)
        assert (len(told.ids), told.most) == (num, most)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("settings", [{}, {"mode": "every-step"}, {"temperature": 0.8, "seed": 3}])
def test_an_ensemble_writes_the_same(settings: dict[str, Any], api: str, directory: Path, tmp_path: Path) -> None:
    llama = load_directory(tiny.save_llama(tmp_path / "near"))
    with served(FakeInference(llama)) as url:
        far = member_of(directory, url, api, top_logprobs=20)
        near = MemberConfig.model_validate({"name": "far", "source": str(tmp_path / "near")})
        other = MemberConfig.model_validate({"name": "other", "source": str(tiny.save_gemma3(tmp_path / "other"))})
        texts = []
        for members in ((far, other), (near, other)):
            with gac_app.load({"members": members}, max_new_tokens=12, **settings) as gac:
                texts.append(gac.answer("The capital", raw=True).text)
    assert texts[0] == texts[1] != ""
