"""Runs stored before a setting existed."""

from __future__ import annotations

from tests.services.house import ALICE, SHORT, House, answer, ended
from tests.storage.samples import new_run


def test_a_run_without_an_alignment_was_the_papers(house: House) -> None:
    service = house.service()
    settings = service.config.settings.model_dump(mode="json") | SHORT | {"weights": {"a": 3.0, "b": 1.0}}
    del settings["alignment"]
    store = house.store()
    store.start_run(new_run("Name three colours", ALICE, run_id="0" * 32, settings=settings)).result(10)
    store.close()

    stored = service.history.find(ALICE, "0" * 32)
    again = ended(service.rerun(ALICE, stored.id))

    assert service.config.settings.alignment == "prefix"
    for run in (stored, again):
        assert (run.settings.alignment, run.settings.weights) == ("paper", {"a": 3.0, "b": 1.0})


def test_a_run_keeps_the_alignment_it_was_made_with(house: House) -> None:
    service = house.service()
    runs = [answer(service, alignment=alignment, weights="posterior") for alignment in ("paper", "prefix")]

    found = [house.service().history.find(ALICE, run.id) for run in runs]

    assert [(run.settings.alignment, run.settings.weights) for run in found] == [
        ("paper", "posterior"),
        ("prefix", "posterior"),
    ]
