"""What stands for a client, and how much it may take."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gac_app.services.queue import shares
from gac_app.services.queue.shares import Allowance, client_of, voter_of
from gac_app.services.visitors import owner_of
from tests.fakes import FakeModel
from tests.services.house import ALICE, BOB, House, ended


def test_a_client_is_an_address_or_an_ipv6_network() -> None:
    assert client_of("192.0.2.1") == client_of("::ffff:192.0.2.1") != client_of("192.0.2.2")
    assert client_of("2001:db8::1") == client_of("2001:db8::ffff:1") != client_of("2001:db8:0:1::1")
    assert client_of("fe80::1%eth0") == client_of("fe80::2")
    assert client_of("") == ""
    assert "192.0.2.1" not in client_of("192.0.2.1")


@pytest.fixture
def keys() -> Iterator[dict[int, bytes]]:
    """Those of the periods 0 to 9."""
    before, found = dict(shares._keys), {period: bytes([period]) * 32 for period in range(10)}
    shares.use_client_keys(found)
    yield found
    shares.use_client_keys(before)


def test_a_voter_is_a_customer_s_network() -> None:
    """Who has 65,536 networks of clients has one vote."""
    home, other = client_of("2001:db8:1:2::1"), client_of("2001:db8:1:3::1")
    assert home != other
    assert voter_of(home) == voter_of(other) != voter_of(client_of("2001:db8:2::1"))
    assert voter_of(client_of("192.0.2.1")) == client_of("192.0.2.1")
    assert len(voter_of(home)) <= 24, "as the database keeps it"


def test_names_in_successive_periods_share_a_hash(keys: dict[int, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    def hashes(days: float, address: str = "192.0.2.1") -> set[str]:
        monkeypatch.setattr(shares.time, "time", lambda: days * 24 * 3600)
        return set(client_of(address).split(":"))

    assert hashes(16) == hashes(29)
    assert len(hashes(16) & hashes(31)) == 1
    assert not hashes(16) & hashes(46)
    assert not hashes(16) & hashes(16, "192.0.2.2")
    assert shares.has_client_keys()
    before = hashes(16)
    shares.use_client_keys({**keys, 0: b"other", 1: b"other"})
    assert not hashes(16) & before, "nobody without the keys can compute it"
    hashes(9 * 15)
    assert not shares.has_client_keys(), "the next period's is not there"


def test_an_allowance_comes_back_up_to_the_burst() -> None:
    now = 0.0
    allowance = Allowance(2, 4, clock=lambda: now)
    assert [allowance.take("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert allowance.take("b", cost=3) == 0
    now = 0.5
    assert allowance.take("a") == 0
    now = 100.0
    assert [allowance.take("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]
    now = 200.0
    assert allowance.take("a", cost=1000) == 0, "what costs more than the burst takes all of it"


def test_a_read_counts_for_an_address_then_for_a_browser(house: House) -> None:
    models = [FakeModel("a", 1), FakeModel("b", 2)]
    service = house.service(models)
    for key, client in ((ALICE, "mill"), (BOB, "mill"), (BOB, "home")):
        ended(service.start(key, "hello", {"max_new_tokens": 3, "mode": "every-step"}, client=client))
    expected = {("mill", owner_of(ALICE)), ("mill", owner_of(BOB)), ("home", owner_of(BOB))}
    assert [model.shares for model in models] == [expected, expected]
