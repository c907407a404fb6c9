"""Settings of stored runs."""

from __future__ import annotations

from tests.services.house import ALICE, House, answer


def test_a_run_keeps_the_alignment_it_was_made_with(house: House) -> None:
    service = house.service()
    runs = [answer(service, alignment=alignment, weights="posterior") for alignment in ("paper", "prefix")]

    found = [house.service().history.find(ALICE, run.id) for run in runs]

    assert [(run.settings.alignment, run.settings.weights) for run in found] == [
        ("paper", "posterior"),
        ("prefix", "posterior"),
    ]
