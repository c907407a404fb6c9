"""A Ray cluster of two nodes on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

NODE = {"num_cpus": 1, "object_store_memory": 100 << 20, "include_dashboard": False}
FAR = {"far": 1}


@contextmanager
def two_nodes() -> Iterator[Any]:
    """A head, on which this process is, and another node, which has `far`. They want a token."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", "a" * 64)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
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
