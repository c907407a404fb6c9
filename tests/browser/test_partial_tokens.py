"""Tokens that members cut differently, and a stored run's settings, as a visitor sees them."""

from __future__ import annotations

from typing import Any

import pytest

from gac_app.decoding.trace.events import StepTrace
from tests.browser.conftest import Opener, Server, Watched
from tests.ui.planted import PlantedEnsemble, PlantedSession
from tests.ui.steps import member, step

pytestmark = pytest.mark.browser

SMALL, LARGE = member("Small", 0.6, {b"\xe6\x97": 0.6}, weight=0.75), member("Large", 0.5, weight=0.25, num_read=0)
STEPS = [
    step(0, b"\xe6\x97", {"Large": ()}, members=(SMALL, LARGE), is_partial=True, top={b"x": 0.2}),
    step(1, b"\xa5", {"Large": ()}, members=(SMALL, LARGE), is_partial=True),
    step(2, "本".encode(), {"Large": ("日本".encode(),)}, members=(SMALL, LARGE)),
]


class CutDifferently(PlantedEnsemble):
    """The ensemble writes 日本 in the three pieces of one member; the members alone write it whole."""

    def __init__(self) -> None:
        super().__init__(pieces=("", "日", "本"), alone=("日本", ""))

    def session(self, messages: Any, settings: Any, *, alone: str | None = None, **options: Any) -> PlantedSession:
        if alone:
            return super().session(messages, settings, alone=alone, **options)
        return CutSession(self, list(self.pieces), settings, None, -1)


class CutSession(PlantedSession):
    def _step(self, position: int, piece: str) -> StepTrace:
        return STEPS[position]


def inspect(page: Watched, index: int) -> str:
    page.click_token(index)
    part = page.page.locator(f".gac-part:text-is('{index + 1}')")
    page.page.wait_for_selector(".gac-inspector:not([hidden])")
    if part.count():
        part.click()
    page.page.wait_for_selector(f".gac-inspector h3:text-is('Token {index + 1}')")
    return page.text(".gac-inspector").replace("\n", " ")


def test_partial_tokens_are_explained(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(CutDifferently()))
    page.ask("hello")
    assert page.painted("gac-asked") == ["日本"]

    first = inspect(page, 0)
    assert "part of the character 日" in first
    assert "some member writes more than this as one token" in first
    assert "is inside a longer token of its own, 日本, which is complete at token 3" in first
    assert "needed no forward pass" in first
    assert page.page.locator(".gac-inspector .is-chosen .gac-tick").count() == 3  # in every list, in no top-k
    bars = page.page.eval_on_selector_all(".gac-weights i", "bars => bars.map(bar => bar.style.width)")
    assert bars == ["75%", "25%"]
    assert "reads tokens 1 to 3 again, together: 日本" in inspect(page, 2)
