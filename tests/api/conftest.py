"""The API over fake members, by a test's client and over a port of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.api.site import Site, Sites
from tests.event_loops import loops_are_free as loops_are_free
from tests.services.conftest import house as house
from tests.services.house import House


@pytest.fixture
def site(house: House) -> Iterator[Sites]:
    with ExitStack() as opened:

        def make(models: Any = None, **config_fields: Any) -> Site:
            return opened.enter_context(Site.over(house.service(models, **config_fields)))

        yield make


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site of all tests of a file that need no other."""
    house = House(tmp_path_factory.mktemp("site") / "gac.db")
    with Site.over(house.service()) as here:
        yield here
    house.close()
