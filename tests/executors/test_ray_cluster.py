"""What is said where no Ray cluster can be used, and what a configuration may say of it."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from gac_app.config import Config
from gac_app.errors import ConfigError, MemberError, ModelLoadError
from gac_app.executors import ray_actors
from gac_app.executors.hosted import HostedRandom, ModelHost
from gac_app.loading import load_ensemble
from gac_app.member_config import MemberConfig, RayConfig, RayShare
from gac_app.models.hardware import plan
from gac_app.models.hardware.devices import Devices, parse_devices
from gac_app.models.random_model import RandomModel
from tests.fakes import config_of


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModelLoadError, match=r"Ray is not installed: pip install '.\[ray\]'"):
        load_ensemble(config_of(["a"]).run_by("ray"))


def test_an_address_where_nothing_listens_is_told() -> None:
    pytest.importorskip("ray")
    with socket.socket() as taken:  # bound, and not listening
        taken.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ModelLoadError, match=rf"Ray at {place} cannot be reached .*'ray start --head' runs there"):
            load_ensemble(config_of(["a"]).run_by("ray", place))


@pytest.mark.parametrize("address", ["ray://10.0.0.1:10001", "10.0.0.1", "http://10.0.0.1:6379", ""])
def test_an_address_of_another_form_is_refused(address: str) -> None:
    with pytest.raises(ValidationError, match="expected host:port of the cluster's head, or auto"):
        RayConfig(address=address)
    if address:
        with pytest.raises(ConfigError, match=r"^ray\.address: expected host:port"):
            config_of(["a"]).run_by("ray", address)


def test_members_change_where_they_run() -> None:
    server = {"url": "http://127.0.0.1:1", "api": "vllm"}
    members = [
        {"name": "a", "source": "random:1"},
        {"name": "b", "source": "random:2", "ray": {"num_gpus": 2}},
        {"name": "c", "source": "hub:x/y", "server": server},
    ]
    config = Config.model_validate({"members": members})
    assert [member.ray for member in config.run_by("ray").members] == [RayShare(), RayShare(num_gpus=2), None]
    assert [member.ray for member in config.run_by("threads").members] == [None] * 3
    assert config.run_by("ray", "[::1]:6379").ray.address == "[::1]:6379"
    with pytest.raises(ValidationError, match="expected a server, vLLM or Ray, and no two of them"):
        MemberConfig.model_validate({**members[2], "ray": {}})


def test_members_on_ray_take_nothing_of_this_machine() -> None:
    found = plan(config_of(["a", "b"]).run_by("ray").members, Devices((), 1, None))
    assert {placement.device for placement in found.placements.values()} == {"Ray"}
    assert found.devices_disjoint
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("member", "devices"),
    [
        ({"source": "hub:x/y"}, ("cuda:0", "cuda:1")),
        ({"source": "hub:x/y", "num_params": 1e9}, ("cuda:0", "cuda:1")),
        ({"source": "hub:x/y", "device": "cuda:1"}, "cuda:1"),
        ({"source": "random:1"}, "cpu"),
        ({"source": "hub:x/y", "ray": {}}, "cpu"),
    ],
)
def test_a_model_on_ray_spans_the_gpus_it_reserves(
    member: dict[str, Any], devices: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def detect_devices() -> Devices:
        return parse_devices("2x80GiB") if os.environ["CUDA_VISIBLE_DEVICES"] else Devices((), 1, None)

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")  # as Ray leaves it where none is reserved
    monkeypatch.setattr(ray_actors, "detect_devices", detect_devices)
    monkeypatch.setattr(ray_actors, "load_model", lambda _, *, placement, **__: placement.device)
    config = MemberConfig.model_validate({"name": "a", "ray": {"num_gpus": 2}, **member})
    assert ray_actors.MemberActor(config, (), tmp_path, b"")._load() == devices


def test_an_actor_back_with_another_model_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [{"NodeID": "n", "NodeManagerAddress": "127.0.0.1", "NodeManagerPort": 1}]
    exceptions = SimpleNamespace(RayError=LookupError, GetTimeoutError=TimeoutError)
    ray = SimpleNamespace(get=lambda ref, timeout=0: ref, nodes=lambda: nodes, exceptions=exceptions)
    monkeypatch.setitem(sys.modules, "ray", ray)
    facts = ModelHost(RandomModel("a", 1)).facts()
    lives = iter((None, (now, "n", ("127.0.0.1", 1))) for now in (facts, facts | {"engine": "another"}))
    actor = SimpleNamespace(facts=SimpleNamespace(remote=lambda: next(lives)))
    host = ray_actors.RayHost("a", actor, b"", lambda: None)
    HostedRandom("a", 1).use(host)
    with pytest.raises(MemberError, match="came back with another model or engine; start this program again"):
        host.step([])  # nothing listens there


def test_a_silent_actor_is_given_up_within_five_seconds() -> None:
    """As is promised; on busy machines the tests with a cluster have more patience."""
    assert ray_actors._LOOK_S + ray_actors.PULSE_S < 5
