"""Limits what one client may use of shared resources.

A client is an address, as the host sees it, or the /64 network of an IPv6 address. Only a keyed hash is kept, and the
key ends with the process.
"""

from __future__ import annotations

import ipaddress
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b

_PROCESS_KEY = secrets.token_bytes(32)
_DAY_S = 24 * 3600
MAX_NAMES = 10_000  # remembered; the least recently used is dropped first


def client_of(address: str) -> str:
    """The client's name: a keyed hash of its address; empty without an address."""
    if not address:
        return ""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:  # a host name, or a local socket
        network = address
    else:
        mapped = known.ipv4_mapped if isinstance(known, ipaddress.IPv6Address) else None
        known = mapped or known
        network = str(ipaddress.ip_network((known, 64 if known.version == 6 else 32), strict=False))
    return blake2b(network.encode("utf-8", "replace"), key=_PROCESS_KEY, digest_size=12).hexdigest()


def client_today(client: str, day: int | None = None) -> str:
    """A client's name in the database: it changes daily, and nobody can compute it without this process's key.

    Args:
        day: since 1970; None = today, in UTC.
    """
    if not client:
        return ""
    day = int(time.time() // _DAY_S) if day is None else day
    return blake2b(f"{day} {client}".encode(), key=_PROCESS_KEY, digest_size=12).hexdigest()


class Allowance:
    """A token bucket for each name: so much per second, and a burst after a rest.

    Args:
        per_s: tokens added per second.
        burst: the most tokens.
    """

    def __init__(self, per_s: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._burst, self._clock = per_s, burst, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # name -> tokens left, and when

    def take(self, name: str, cost: float = 1.0) -> float:
        """Take `cost` tokens. Returns 0, or the seconds until they are available."""
        now = self._clock()
        left, then = self._left.pop(name, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._per_s)
        cost = min(cost, self._burst)
        wait_s = max(0.0, cost - left) / self._per_s
        self._left[name] = (left if wait_s else left - cost), now
        if len(self._left) > MAX_NAMES:
            self._left.popitem(last=False)
        return wait_s
