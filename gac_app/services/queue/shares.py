"""Limits what one client may use of shared resources.

A client is an address, as the host sees it, or the /64 network of an IPv6 address. Only keyed hashes are kept. A key is
used for two periods of 15 days and then deleted. A name has two hashes, by the keys of this period and of the one
before, so that names of one address in successive periods share one.
"""

from __future__ import annotations

import ipaddress
import secrets
import time
from collections.abc import Callable, Mapping
from hashlib import blake2b

from gac_app.recent import Recent

_PROCESS_KEY = secrets.token_bytes(32)  # until there are those of a database
_keys: dict[int, bytes] = {}  # by the period from which on they are used
PERIOD_S = 15 * 24 * 3600
MAX_NAMES = 10_000  # remembered; the least recently used is dropped first


def client_of(address: str) -> str:
    """The client's name: two keyed hashes of its address; empty without an address."""
    if not address:
        return ""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:  # a host name, or a local socket
        network, within = address, []
    else:
        mapped = known.ipv4_mapped if isinstance(known, ipaddress.IPv6Address) else None
        known = mapped or known
        sizes = (32,) if known.version == 4 else (48, 64)
        network, *within = (str(ipaddress.ip_network((known, bits), strict=False)) for bits in sizes)
    keys = [_keys.get(period, _PROCESS_KEY) for period in (period_now() - 1, period_now())]
    voter = ":".join(_hashed(network, key) for key in keys)
    return "/".join([voter, *(_hashed(one, _PROCESS_KEY) for one in within)])


def voter_of(client: str) -> str:
    """What names a client beside its votes: of an IPv6 address, its /48 network alone, as one customer may have it."""
    return client.partition("/")[0]


def _hashed(text: str, key: bytes) -> str:
    return blake2b(text.encode("utf-8", "replace"), key=key, digest_size=5).hexdigest()


def period_now() -> int:
    """The number of the present 15 days."""
    return int(time.time() // PERIOD_S)


def has_client_keys() -> bool:
    """Whether names are made with the database's keys, and those of the next period are there too."""
    return period_now() + 1 in _keys


def use_client_keys(keys: Mapping[int, bytes]) -> None:
    """Make names with the keys of a database, by period, so that they outlive this process."""
    _keys.clear()
    _keys.update(keys)


class Allowance:
    """A token bucket for each name: so much per second, and a burst after a rest.

    Args:
        per_s: tokens added per second.
        burst: the most tokens.
    """

    def __init__(self, per_s: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._burst, self._clock = per_s, burst, clock
        self._left: Recent[str, tuple[float, float]] = Recent(MAX_NAMES)  # name -> tokens left, and when

    def take(self, name: str, cost: float = 1.0) -> float:
        """Take `cost` tokens. Returns 0, or the seconds until they are available."""
        now = self._clock()
        left, then = self._left.get(name, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._per_s)
        cost = min(cost, self._burst)
        wait_s = max(0.0, cost - left) / self._per_s
        self._left[name] = (left if wait_s else left - cost), now
        return wait_s
