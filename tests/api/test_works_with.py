"""Clients that people use work with a server of this checkout."""

import pytest

from tests.api.clients import NAMES, main


@pytest.mark.long
@pytest.mark.process
@pytest.mark.parametrize("name", NAMES)
def test_a_client_works(name: str) -> None:
    assert main([name]) == 0
