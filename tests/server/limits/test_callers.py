"""Who a request comes from, how many may come, and what makes room for one more."""

from __future__ import annotations

import re
import secrets
import socket
from typing import Any

import httpx
import pytest

from gac_app.server.limits import callers
from gac_app.server.limits.bodies import RefusedError
from gac_app.server.limits.callers import COOKIE, Caller, Callers, Quota, client_in, cookie_in, make_room, new_cookie
from gac_app.services.queue import shares
from tests.server.fakes import host_with
from tests.server.site import API, served

ALICE, BOB = Caller("home", "alice", "alice"), Caller("office", "bob", "bob")
VALUE = "a-_9" * 8


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds, which stand still unless a test moves them."""
    now = [1000.0]
    monkeypatch.setattr(callers, "Allowance", lambda *of: shares.Allowance(*of, clock=lambda: now[0]))
    return now


def scope_of(*cookies: str, address: str = "10.0.0.1", scheme: str = "http") -> dict[str, Any]:
    headers = [(b"cookie", cookie.encode()) for cookie in cookies]
    return {"type": "http", "scheme": scheme, "client": (address, 1), "headers": headers}


GOOD = [(f"{COOKIE}={VALUE}",), (f"other=1; {COOKIE}={VALUE}",), ("other=1", f"{COOKIE}={VALUE}")]
BAD = [(), ("other=1",), *((f"{COOKIE}={value}",) for value in (f"{VALUE}a", VALUE[1:], f"{VALUE[1:]}."))]


@pytest.mark.parametrize(("cookies", "expected"), [*((one, VALUE) for one in GOOD), *((one, "") for one in BAD)])
def test_a_cookie_counts_in_the_hosts_format_only(cookies: tuple[str, ...], expected: str) -> None:
    assert cookie_in(scope_of(*cookies)) == expected


@pytest.mark.parametrize(
    ("scheme", "where"), [("http", "SameSite=Lax"), ("https", "SameSite=None; Secure; Partitioned")]
)
def test_a_new_cookie_is_one_that_counts(scheme: str, where: str) -> None:
    line = new_cookie(scope_of(scheme=scheme))
    found = re.fullmatch(f"({COOKIE}=.{{32}}); Path=/; Max-Age=2592000; HttpOnly; {where}", line)
    assert found
    assert cookie_in(scope_of(found[1])) == found[1].removeprefix(f"{COOKIE}=")
    assert line != new_cookie(scope_of(scheme=scheme))


def test_a_caller_is_known_by_cookie_then_key_then_address() -> None:
    asked, client = Callers(8), client_in(scope_of())
    assert asked.caller(scope_of(f"{COOKIE}={VALUE}"), "key") == Caller(client, VALUE, VALUE)
    assert asked.caller(scope_of(), "key") == Caller(client, "key", client)
    assert asked.caller(scope_of()) == Caller(client, "", client)
    assert client_in(scope_of(address="10.0.0.2")) != client
    assert client_in({"client": None}) == ""


def test_long_bodies_count_as_several_requests(clock: list[float]) -> None:
    asked = Callers(8)
    for _ in range(20):
        asked.admit(ALICE, 100_000)  # six requests
    with pytest.raises(RefusedError, match="please wait a moment") as refused:
        asked.admit(ALICE)
    assert refused.value.status == 429
    asked.admit(Caller("home", "another", "another"))
    for _ in range(80):  # of four visitors
        asked.charge("home", num_bytes=100_000)
    for _ in range(80):
        asked.charge("home", 1)
    with pytest.raises(RefusedError, match="from this address"):
        asked.charge("home", 1)
    asked.charge("office", 1)
    clock[0] += 0.1
    for _ in range(8):
        asked.charge("home", 1)
    with pytest.raises(RefusedError):
        asked.charge("home", 1)
    for _ in range(2):
        asked.admit(ALICE)
    with pytest.raises(RefusedError):
        asked.admit(ALICE)


def test_an_address_has_so_many_new_visitors(clock: list[float]) -> None:
    asked = Callers(8)
    crowd = [Caller("home", f"{number}", "") for number in range(9)]
    for one in [*crowd[:8], *crowd[:8]]:
        asked.admit(one)
    for _ in range(2):  # who is refused is new at the next try too
        with pytest.raises(RefusedError, match="Too many new visitors"):
            asked.admit(crowd[8])
    asked.admit(BOB)
    clock[0] += 60 / 8
    asked.admit(crowd[8])


def test_on_ipv6_a_network_has_so_many_new_visitors() -> None:
    """A host on `::1`, whose proxy says who asks."""
    host = host_with(visitors_per_client=4, trusted_proxies=("::1",))

    def asked(address: str) -> int:
        headers = {"X-Forwarded-For": address, "Cookie": f"{COOKIE}={secrets.token_hex(16)}"}
        return httpx.get(f"{url}{API}/queue/status", headers={**headers, "Origin": url}).status_code

    with served(host, listener=socket.create_server(("::1", 0), family=socket.AF_INET6)) as url:
        assert [asked(f"2001:db8::{number}:1") for number in range(6)] == [404] * 4 + [429] * 2
        assert asked("2001:db8:0:1::1") == 404


def test_what_has_gone_counts_no_more() -> None:
    """One that goes makes room in a visitor's, a client's and everybody's number."""
    full = RefusedError(429, "full"), RefusedError(503, "full")
    held = [("bobs", BOB), ("one", ALICE), ("two", ALICE)]

    def gone(of_visitor: int, of_client: int, of_all: int) -> list[str]:
        return make_room(held, ALICE, Quota(of_visitor, of_client, of_all), lambda _: True, full)

    assert gone(3, 3, 4) == []
    assert gone(2, 2, 3) == gone(2, 3, 4) == gone(3, 2, 4) == ["one"]
    assert gone(3, 3, 3) == ["bobs"]
    assert gone(2, 2, 2) == ["one", "bobs"]
    assert gone(2, 1, 2) == ["one", "two"]
    for quota, refusal in ((Quota(2, 9, 9), full[0]), (Quota(9, 2, 9), full[1]), (Quota(9, 9, 3), full[1])):
        with pytest.raises(RefusedError) as refused:
            make_room(held, ALICE, quota, lambda _: False, full)
        assert refused.value is refusal
