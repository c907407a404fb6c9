"""Limits what one client may use of shared resources.

A client is an address as the host saw it, or its /64 for IPv6, which is what one line or office has. Only a keyed hash
of it is kept, and the key ends with the process.
"""

from __future__ import annotations

import ipaddress
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b

_PROCESS_KEY = secrets.token_bytes(32)
MAX_NAMES = 10_000  # whose allowances are remembered; the one unused for longest goes first


def client_of(address: str) -> str:
    """The client's name: a keyed hash of its address; empty for none."""
    if not address:
        return ""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:  # a name, or a socket of this machine
        network = address
    else:
        mapped = known.ipv4_mapped if isinstance(known, ipaddress.IPv6Address) else None
        known = mapped or known
        network = str(ipaddress.ip_network((known, 64 if known.version == 6 else 32), strict=False))
    return blake2b(network.encode("utf-8", "replace"), key=_PROCESS_KEY, digest_size=12).hexdigest()


class Allowance:
    """A token bucket for each name: so much per second, and a burst after a rest.

    Args:
        per_s: what comes back in a second.
        burst: what there is at most.
    """

    def __init__(self, per_s: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._burst, self._clock = per_s, burst, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # name -> what was left, when

    def take(self, name: str, cost: float = 1.0) -> float:
        """Take `cost`. Returns 0, or the seconds until it can be taken."""
        now = self._clock()
        left, then = self._left.pop(name, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._per_s)
        cost = min(cost, self._burst)
        wait_s = max(0.0, cost - left) / self._per_s
        self._left[name] = (left if wait_s else left - cost), now
        if len(self._left) > MAX_NAMES:
            self._left.popitem(last=False)
        return wait_s
