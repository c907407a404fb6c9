"""From a configuration to running services, whatever fails on the way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from gac_app import bootstrap
from gac_app.config import Config
from gac_app.errors import UNEXPECTED, GacError, ModelLoadError, VocabularyError
from gac_app.evaluation.studies import StudyResult
from gac_app.loading import load_ensemble
from gac_app.models import factory
from gac_app.models.onnx import parts
from gac_app.services.runs.runs import RunService
from tests.databases import database_in
from tests.fakes import WAIT_S, FakeModel, config_of
from tests.services.house import ALICE, BOB, SHORT, ended, listed, until

Build = Callable[..., RunService]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return config_of(["a", "b"], database_url=database_in(tmp_path / "gac.db"), cache_dir=tmp_path / "cache")


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeModel | Exception]:
    """What loading a member gives, by name; errors are raised."""
    results: dict[str, FakeModel | Exception] = {"a": FakeModel("a", 1), "b": FakeModel("b", 2)}

    def load(member: Any, *, on_load: Any, **_: Any) -> FakeModel:
        on_load()
        result = results[member.name]
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(factory, "load_model", load)
    return results


@pytest.fixture
def built(config: Config) -> Iterator[Build]:
    """Builds services of the configuration, which are closed at the end."""
    with ExitStack() as opened:

        def build(**options: Any) -> RunService:
            services = bootstrap.build_services(config, **options)
            opened.callback(services.runs.close)
            return services.runs

        yield build


def settled(service: RunService) -> dict[str, tuple[str, str]]:
    """Phase and detail by member, once nothing is being loaded any more."""

    def is_over() -> bool:
        phases = {state.phase for state in service.members.states()}
        return service.members.are_ready or ("failed" in phases and phases <= {"ready", "failed"})

    until(is_over)
    return {state.name: (state.phase, state.detail) for state in service.members.states()}


def test_a_configuration_becomes_a_service_that_answers(built: Build) -> None:
    service = built()
    until(lambda: service.members.are_ready)
    assert settled(service) == {"a": ("ready", "cpu"), "b": ("ready", "cpu")}
    run = ended(service.start(ALICE, "Hello", SHORT))
    assert run.is_saved
    stored = service._store.load_run(ALICE, run.id)
    assert {"gac", "torch", "transformers"} <= stored.versions.keys()
    assert len(stored.config_hash) == 16


def test_whoever_builds_is_told_every_state(built: Build, loaded: dict[str, Any]) -> None:
    """From the first on, however fast the members load."""
    told: list[tuple[str, str]] = []
    settled(built(tell=lambda state: told.append((state.name, state.phase))))
    for name in "ab":
        assert [phase for of, phase in told if of == name] == ["waiting", "loading", "ready"]


@pytest.mark.usefixtures("loaded")
def test_views_are_ready_with_their_model(config: Config) -> None:
    members = [{"name": "a", "source": "random:1"}, {"name": "terse", "of": "a", "system_prompt": "Be terse."}]
    files = {"database_url": config.database_url, "cache_dir": config.cache_dir}
    with closing(bootstrap.build_services(Config.model_validate({"members": members, **files})).runs) as service:
        assert {name: phase for name, (phase, _) in settled(service).items()} == {"a": "ready", "terse": "ready"}


@pytest.mark.parametrize("is_open", [True, False])
def test_a_closed_lab_is_none(config: Config, is_open: bool) -> None:
    config = config.model_copy(update={"lab": config.lab.model_copy(update={"is_open": is_open})})
    services = bootstrap.build_services(config)
    services.close()
    assert (services.lab is not None) == is_open


def test_who_deletes_all_has_no_study(config: Config, loaded: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    loaded["a"] = FakeModel("a", 1, delay_s=0.02)  # no study ends by itself
    services = bootstrap.build_services(config)
    lab, store = services.lab, services.runs._store
    assert lab
    until(lambda: services.runs.members.are_ready)
    lab.results.ready_to_keep(ALICE, StudyResult("eval", "A heading", (), data={"n": 1}), is_own=False)().result()
    lab.start(ALICE, "eval", "trivia", 20)
    lab.forget(BOB)
    assert lab.running, "it is not theirs"
    assert len(lab.results.benchmarks()) == 1
    delete = store.delete_visitor
    # Another visitor's page asks for advice just before.
    monkeypatch.setattr(store, "delete_visitor", lambda key: lab.results.benchmarks() and delete(key))
    services.runs.history.delete_all(ALICE)
    until(lambda: lab.running is None)
    assert (lab.last_error, lab.results.of(ALICE), lab.results.benchmarks()) == ("The study was cancelled.", [], [])
    lab.start(ALICE, "eval", "trivia", 20)
    services.close()
    until(lambda: lab.running is None)
    assert lab.last_error == "The study was cancelled."


def test_members_are_ready_before_trials(built: Build, loaded: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The trials run one after the other, and members keep what they were loaded with."""
    models, tried, may_end = dict(loaded), list[str](), threading.Event()

    def load(member: Any, *, untried: list[Path], **_: Any) -> FakeModel:
        untried.append(Path(member.name))
        return models[member.name]

    def try_it(gguf: Path, _: Path) -> None:
        tried.append(gguf.name)
        assert may_end.wait(WAIT_S)

    monkeypatch.setattr(factory, "load_model", load)
    monkeypatch.setattr(parts, "onnx_parts", try_it)
    service = built()
    try:
        until(lambda: len(tried) == 1)
        until(lambda: service.members.are_ready)
        assert ended(service.start(ALICE, "Hello", SHORT)).status == "finished"
        assert len(tried) == 1
        may_end.set()
        until(lambda: len(tried) == 2)
        assert sorted(tried) == ["a", "b"]
        assert not any(model.is_closed for model in models.values())
    finally:
        may_end.set()


def test_a_member_that_fails_to_load_is_named(built: Build, loaded: dict[str, Any]) -> None:
    loaded["b"] = ModelLoadError("b: the file is cut short (/models/b.gguf)")
    service = built()
    assert settled(service) == {"a": ("ready", "cpu"), "b": ("failed", "the file is cut short (/models/b.gguf)")}
    until(lambda: loaded["a"].is_closed, "for the other model to be released")
    assert not service.members.are_ready
    with pytest.raises(GacError, match="b could not be loaded: the file is cut short"):
        service.start(ALICE, "Hello", {})
    assert listed(service, ALICE) == []
    service.check_storage()
    service.history.delete_all(ALICE)


@pytest.mark.parametrize("error", [VocabularyError("no token for the byte 0x00"), ZeroDivisionError("secret detail")])
def test_vocabularies_that_do_not_unite_fail_all_members(
    built: Build, loaded: dict[str, Any], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def unite(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr("gac_app.vocab.union.UnionVocabulary.build", unite)
    service = built()
    until(lambda: all(state.phase == "failed" for state in service.members.states()))
    expected = str(error) if isinstance(error, GacError) else UNEXPECTED
    assert {state.detail for state in service.members.states()} == {expected}
    assert all(model.is_closed for model in loaded.values())
    with pytest.raises(GacError, match="a could not be loaded"):
        service.start(ALICE, "Hello", {})


def test_members_share_what_they_learn_of_hosts(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[str]] = []
    load = lambda member, *, unreachable, **_: seen.append(unreachable) or FakeModel(member.name)  # noqa: E731
    monkeypatch.setattr(factory, "load_model", load)
    load_ensemble(config).close()
    assert len(seen) > 1
    assert all(found is seen[0] for found in seen)
