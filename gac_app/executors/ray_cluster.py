"""The Ray cluster on whose nodes members run, one actor each.

This process is a driver on one of its nodes: the worker thread of a member (`threads.py`) batches as always. Only
`executors` knows of Ray, which is imported when such a member is loaded.
"""

from __future__ import annotations

import os
import socket
from functools import partial
from pathlib import Path
from typing import Any

from gac_app.config import Config
from gac_app.errors import MemberError, ModelLoadError
from gac_app.executors.hosted import hosted
from gac_app.executors.ray_actors import MemberActor, RayHost, first_line
from gac_app.member_config import MemberConfig, RayConfig, RayShare
from gac_app.models.backends import LoadRequest
from gac_app.models.base import Model

_CONNECT_S = 5.0
# Ray reads them when it is imported.
_VARIABLES = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "error",
    "RAY_gcs_server_port_wait_time_s": "5",  # tries of a second, to connect
    "RAY_gcs_rpc_server_reconnect_timeout_s": "2000000000",  # after the head has gone Ray would end this process
}
_NUM_KEY_BYTES = 32


class RayCluster:
    """The members' actors, each in its part of a placement group.

    Raises:
        ModelLoadError: the cluster cannot be used, or has no room.
    """

    def __init__(self, config: Config, members: list[MemberConfig], cache_dir: Path) -> None:
        _connect(config.ray)
        self._plugins, self._cache_dir = config.plugins, cache_dir
        self._names = [member.name for member in members]
        self._open = set(self._names)
        self._group = _reserve(config.ray, members)

    def load(self, request: LoadRequest) -> Model:
        """Load a member in its actor. Raises ModelLoadError."""
        import ray
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        member, share = request.member, request.member.ray or RayShare()
        of_ray = ray.remote(
            num_cpus=share.num_cpus,
            num_gpus=share.num_gpus,
            resources=share.resources,
            scheduling_strategy=PlacementGroupSchedulingStrategy(self._group, self._names.index(member.name)),
            max_restarts=-1,
            max_task_retries=0,
            concurrency_groups={"pulse": 1},
        )
        key = os.urandom(_NUM_KEY_BYTES)
        actor = of_ray(MemberActor).remote(member, self._plugins, self._cache_dir, key)
        host = RayHost(member.name, actor, key, partial(self._leave, member.name))
        try:
            model = hosted(request)
            model.use(host)
        except BaseException as error:
            host.close()
            if isinstance(error, MemberError):
                raise ModelLoadError(str(error)) from error
            raise
        return model

    def _leave(self, name: str) -> None:
        from ray.util import remove_placement_group

        self._open.discard(name)
        if not self._open:
            remove_placement_group(self._group)


def _connect(config: RayConfig) -> None:
    """Be a driver of the cluster."""
    for name, value in _VARIABLES.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise ModelLoadError("Ray is not installed: pip install '.[ray]' in the project's folder") from error
    if ray.is_initialized():
        return
    if config.address != "auto":
        _check_listens(config.address)
    try:
        ray.init(config.address, log_to_driver=False, configure_logging=False)
    except Exception as error:  # of many kinds
        why = first_line(error)
        if "uthenti" in f"{error} {error.__cause__}":
            why = "its token is another; put that of its head into RAY_AUTH_TOKEN or ~/.ray/auth_token"
        raise ModelLoadError(f"Ray at {config.address} cannot be used: {why}") from error


def _check_listens(address: str) -> None:
    """Ray would try for a minute."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
    except OSError as error:
        what = f"Ray at {address} cannot be reached ({error.strerror or error})"
        raise ModelLoadError(f"{what}; see whether 'ray start --head' runs there, and its port") from error


def _reserve(config: RayConfig, members: list[MemberConfig]) -> Any:
    """A placement group with a bundle for each member. Raises ModelLoadError if the cluster has no room."""
    import ray
    from ray.util import placement_group, remove_placement_group

    bundles = [(member.ray or RayShare()).bundle for member in members]
    group = placement_group(bundles, config.strategy)
    if group.wait(config.wait_s):
        return group
    remove_placement_group(group)
    wanted = "; ".join(f"{member.name} {_listed(bundle)}" for member, bundle in zip(members, bundles, strict=True))
    there = "; ".join(_listed(node["Resources"]) for node in ray.nodes() if node["Alive"])
    raise ModelLoadError(
        f"the Ray cluster has no room for its members ({config.strategy}): they want {wanted}; its nodes have {there}"
    )


def _listed(resources: dict[str, float]) -> str:
    """As an operator names them: `CPU 2, GPU 1`."""
    return ", ".join(
        f"{name} {number:g}" for name, number in resources.items() if ":" not in name and "memory" not in name
    )
