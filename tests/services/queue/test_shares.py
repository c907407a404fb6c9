"""What stands for a client, and how much it may take."""

from __future__ import annotations

import pytest

from gac_app.services.queue import shares
from gac_app.services.queue.shares import Allowance, client_of, client_today


def test_a_client_is_an_address_or_an_ipv6_network() -> None:
    assert client_of("192.0.2.1") == client_of("::ffff:192.0.2.1") != client_of("192.0.2.2")
    assert client_of("2001:db8::1") == client_of("2001:db8::ffff:1") != client_of("2001:db8:0:1::1")
    assert client_of("fe80::1%eth0") == client_of("fe80::2")
    assert client_of("") == ""
    assert "192" not in client_of("192.0.2.1")


def test_what_stands_for_a_client_in_the_database_changes_daily(monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of("192.0.2.1")
    assert client_today(client, 1) == client_today(client, 1) != client_today(client, 2)
    assert client_today(client) not in (client, client_today(client, 1))
    assert client_today(client, 1) != client_today(client_of("192.0.2.2"), 1)
    assert client_today("") == ""
    before = client_today(client, 1)
    monkeypatch.setattr(shares, "_PROCESS_KEY", bytes(32))
    assert client_today(client, 1) != before, "nobody without the process's key can compute it"


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


def test_names_without_number_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "MAX_NAMES", 10)
    allowance = Allowance(1, 1)
    for number in range(100):
        allowance.take(str(number))
    assert len(allowance._left) == 10
