"""Room for one more batch: of an address, of all, and what gives way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from gac_app.errors import BusyError
from gac_app.services.runs import batches as batches_module
from gac_app.services.runs.batches import GIVES_WAY_S, Batch, Batches
from tests.clocks import HandClock


def batches_of(clock: HandClock, *clients: str, heard_at: float = 0.0) -> tuple[Batches, list[Batch]]:
    """One batch under way of each client, the first heard of longest ago."""
    batches = Batches(cast("Any", SimpleNamespace(companions=[])), clock)
    under_way = [Batch([], client, heard_at + 0.1 * number) for number, client in enumerate(clients)]
    batches._batches = {f"owner {number}": batch for number, batch in enumerate(under_way)}
    return batches, under_way


@pytest.mark.parametrize(
    ("clients", "refusal"),
    [
        (["office"] * 2 + ["home"], "Too many batches of your address are under way"),
        (["home", "school", "mill", "office"], "Too many batches are under way at the moment"),
    ],
)
@pytest.mark.parametrize(("seconds", "gives_way"), [(GIVES_WAY_S - 0.5, False), (GIVES_WAY_S, True)])
def test_who_is_not_asked_for_gives_way(
    clients: list[str], refusal: str, seconds: float, gives_way: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches_module, "MAX_OF_CLIENT", 2)
    monkeypatch.setattr(batches_module, "MAX_BATCHES", 4)
    clock = HandClock()
    batches, under_way = batches_of(clock, *clients)
    clock.now = seconds
    if gives_way:
        batches._make_room("office")
        assert [batch.cancelled.is_set() for batch in under_way] == [True] + [False] * (len(clients) - 1)
        assert under_way[0].why == "cancelled: nobody was watching and the slot was needed"
    else:
        with pytest.raises(BusyError, match=refusal):
            batches._make_room("office")
        assert not any(batch.cancelled.is_set() for batch in under_way)


def test_batches_that_are_over_take_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches_module, "MAX_OF_CLIENT", 2)
    monkeypatch.setattr(batches_module, "KEPT_BATCHES", 1)
    batches, (first, second, third, _) = batches_of(HandClock(), *["office"] * 4)
    first.is_over = second.is_over = True
    third.end("cancelled")
    batches._make_room("office")
    assert list(batches._batches) == ["owner 1", "owner 2", "owner 3"], "the oldest finished one is forgotten"
