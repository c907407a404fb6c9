"""Members on a real Ray cluster, of two nodes on this machine: the same answers, whatever dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml

from gac_app.config import Config
from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.trace import FinishedEvent, FinishReason, TokenEvent
from gac_app.errors import ModelLoadError
from gac_app.executors import ray_actors
from gac_app.executors.ray_actors import RayHost
from gac_app.loading import load_ensemble
from gac_app.member_config import RayShare
from tests.fakes import WAIT_S
from tests.services.house import until

pytestmark = [pytest.mark.process, pytest.mark.slow]

PROMPTS = [f"{number} words about votes: é 日" for number in range(12)]
NODE = {"num_cpus": 1, "object_store_memory": 100 << 20, "include_dashboard": False}
FAR = {"far": 1}
LONG_S = 4 * WAIT_S  # for what starts a process that imports torch
GONE = "is gone; start Ray there again, and this program if that was the head"


@pytest.fixture(scope="module", autouse=True)
def patience() -> Iterator[None]:
    """On a busy machine an actor that is well may be slow to show it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, seconds in (("PULSE_S", WAIT_S), ("RETURN_S", LONG_S), ("_LOOK_S", 5.0)):
            patch.setattr(ray_actors, name, seconds)
        yield


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head, on which this process is, and another node, which has `far`. They want a token."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("AUTH_MODE", "token"), ("AUTH_TOKEN", "a" * 64), ("USAGE_STATS_ENABLED", "0")):
            patch.setenv(f"RAY_{name}", value)
        ray = pytest.importorskip("ray")
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args=NODE)
        try:
            add_far_node(cluster)
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


def add_far_node(cluster: Any, num_tries: int = 3) -> None:
    """The node that has `far`, after it was removed. Ray waits 30 s for it, which a busy machine may need."""
    try:
        cluster.add_node(**NODE, resources=FAR)
    except Exception as error:
        if "timed out during startup" not in str(error) or num_tries == 1:
            raise
        add_far_node(cluster, num_tries - 1)


@pytest.fixture(scope="module")
def config(cluster: Any) -> Config:
    members = [
        {"name": "a", "source": "random:1", "ray": {"num_cpus": 0.5}},
        {"name": "b", "source": "random:2", "ray": {"num_cpus": 0.5, "resources": FAR}},
    ]
    settings = {"max_new_tokens": 12, "temperature": 0.7, "seed": 5}
    ray = {"address": cluster.address, "strategy": "STRICT_SPREAD", "wait_s": LONG_S}
    return Config.model_validate({"members": members, "settings": settings, "ray": ray})


@pytest.fixture(scope="module")
def near(config: Config) -> Iterator[Ensemble]:
    with closing(load_ensemble(config.run_by("threads"))) as ensemble:
        yield ensemble


@pytest.fixture(scope="module")
def far(config: Config) -> Iterator[Ensemble]:
    with closing(load_ensemble(config)) as ensemble:
        yield ensemble


def host_of(ensemble: Ensemble, name: str) -> RayHost:
    host: RayHost = ensemble.members[name].model._host  # type: ignore[attr-defined]
    return host


def pid_of(host: RayHost) -> int:
    import ray

    deadline = time.monotonic() + LONG_S
    while True:
        try:
            pid: int = ray.get(host._actor.__ray_call__.remote(lambda _: os.getpid()))
            return pid
        except ray.exceptions.ActorUnavailableError:  # it is starting again
            assert time.monotonic() < deadline
            time.sleep(0.1)


def answer(
    ensemble: Ensemble, prompt: str = PROMPTS[0], at: int = 0, act: Callable[[], Any] = int, **changes: Any
) -> FinishedEvent:
    """The end of an answer; after `at` events, something is done."""
    events = ensemble.generate(prompt, ensemble.config.settings_from(changes))
    for event in islice(events, at):
        assert isinstance(event, TokenEvent)
    act()
    *_, event = events
    assert isinstance(event, FinishedEvent)
    return event


def test_the_digests_are_those_of_threads(near: Ensemble, far: Ensemble) -> None:
    assert len({host_of(far, name)._port for name in "ab"}) == 2
    assert [answer(far, prompt).digest for prompt in PROMPTS] == [answer(near, prompt).digest for prompt in PROMPTS]
    assert far.members["a"].model.engine == "random"


def test_a_cluster_without_room_is_told(config: Config) -> None:
    hasty = config.ray.model_copy(update={"wait_s": 1})
    greedy = config.members[0].model_copy(update={"ray": RayShare(num_gpus=2)})
    with pytest.raises(ModelLoadError, match=r"no room .*they want a CPU 1, GPU 2; its nodes have .*far 1"):
        load_ensemble(config.model_copy(update={"members": (greedy,), "ray": hasty}))


def test_an_actor_killed_amid_an_answer_changes_nothing(near: Ensemble, far: Ensemble) -> None:
    pid = pid_of(host_of(far, "b"))
    end = answer(far, at=2, act=lambda: os.kill(pid, signal.SIGKILL))
    assert (end.reason, end.digest) == (FinishReason.LENGTH, answer(near).digest)
    assert pid_of(host_of(far, "b")) != pid
    assert far.members["b"].failure == ""


def test_an_actor_that_is_silent_is_given_up(near: Ensemble, far: Ensemble, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = pid_of(host_of(far, "b"))
    monkeypatch.setattr(ray_actors, "PULSE_S", 1.0)
    try:
        end = answer(far, at=2, act=lambda: os.kill(pid, signal.SIGSTOP))
    finally:
        monkeypatch.undo()
        os.kill(pid, signal.SIGCONT)
    assert end.reason is FinishReason.ERROR
    assert end.detail.startswith("b: ")
    assert "does not answer; see whether it and the network are up" in end.detail
    until_well(far, near)


@pytest.mark.parametrize("policy", ["stop", "drop"])
def test_a_node_that_is_gone_is_told(near: Ensemble, far: Ensemble, cluster: Any, policy: str) -> None:
    """Before Ray's head knows; or its member is left out, if the settings say so."""
    pid = pid_of(host_of(far, "b"))

    def remove() -> None:
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # it would live on for a moment

    end = answer(far, at=2, act=remove, on_member_failure=policy)
    if policy == "stop":
        assert end.reason is FinishReason.ERROR
        assert GONE in end.detail
    else:
        assert (end.reason, end.num_tokens) == (FinishReason.LENGTH, 12)
        assert end.members["b"].num_forwards < end.members["a"].num_forwards
        alone = answer(far, "Another", on_member_failure=policy)
        assert (alone.reason, alone.num_tokens) == (FinishReason.LENGTH, 12), "so does the next answer"
        until(lambda: GONE in far.members["b"].failure)
    add_far_node(cluster)
    until_well(far, near)


def test_another_token_is_refused(config: Config, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json", exclude_none=True)))
    command = [sys.executable, "-m", "gac_app", "generate", "--config", str(path), "a prompt"]
    environment = os.environ | {"RAY_AUTH_TOKEN": "b" * 64}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LONG_S, check=False)
    assert ended.returncode == 1
    *_, said = ended.stderr.splitlines()
    assert said.endswith("its token is another; put that of its head into RAY_AUTH_TOKEN or ~/.ray/auth_token")


def test_a_head_that_is_gone_is_told(far: Ensemble, cluster: Any) -> None:
    """The last test: nothing brings it back but another start."""
    pid = pid_of(host_of(far, "a"))

    def end() -> None:
        cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    ended = answer(far, at=2, act=end)
    assert ended.reason is FinishReason.ERROR
    assert GONE in ended.detail


def until_well(far: Ensemble, near: Ensemble) -> None:
    """The member comes back by itself, and answers as before."""
    deadline = time.monotonic() + LONG_S
    while (end := answer(far)).reason is FinishReason.ERROR or far.members["b"].failure:
        assert time.monotonic() < deadline, end.detail
        time.sleep(0.2)
    assert end.digest == answer(near).digest
