"""A run that its owner shares can be read by whoever knows its id, and nothing else of it."""

from __future__ import annotations

import pytest

from gac_app.config import ServerConfig
from gac_app.errors import NotFoundError, RequestError
from gac_app.ui.compare.records import RunLines
from tests.services.house import ALICE, BOB, SHORT, House, answer, ended


@pytest.mark.parametrize("kind", ["again", "branch", "revised"])
def test_a_shared_run_does_not_tell_where_it_came_from(house: House, kind: str) -> None:
    service = house.service()
    first = answer(service, mode="every-step")
    token = first.streams["ensemble"].steps[0].top[1].token_id
    run = ended(
        {
            "again": lambda: service.rerun(ALICE, first.id),
            "branch": lambda: service.branch(ALICE, first.id, 0, token),
            "revised": lambda: service.revise(ALICE, first.id, first.prompt, {**SHORT, "mode": "gate"}),
        }[kind]()
    )
    service.history.share(ALICE, run.id, True)
    own, seen = service.history.look(ALICE, run.id), service.history.look(BOB, run.id)
    assert (own.repeats_run_id if kind == "again" else own.parent_run_id) == first.id
    for view in (seen, service.history.run_before(BOB, own), service.history.run_beside(BOB, own)):
        assert first.id not in repr(view)
    assert first.id not in RunLines(seen).value(is_last=True)


def test_where_sharing_is_off_nothing_is_shared_nor_read(house: House) -> None:
    service = house.service()
    run = answer(service)
    service.history.share(ALICE, run.id, True)
    service.close()
    service = house.service(server={"sharing": False})
    with pytest.raises(NotFoundError):
        service.history.look(BOB, run.id)
    with pytest.raises(RequestError, match="off on this server"):
        service.history.share(ALICE, run.id, True)
    service.history.share(ALICE, run.id, False)


@pytest.mark.parametrize(
    ("server", "is_sharing"),
    [
        ({}, True),
        ({"host": "192.168.1.9"}, False),
        ({"host": "192.168.1.9", "sharing": True}, True),
        ({"sharing": False}, False),
    ],
)
def test_on_a_public_host_sharing_must_be_configured(server: dict, is_sharing: bool) -> None:
    assert ServerConfig(**server).is_sharing is is_sharing
