"""Tokens that members cut differently, code, and a stored run's settings, as a visitor sees them."""

from __future__ import annotations

from typing import Any

import pytest

from gac_app.decoding.events import StepTrace
from tests.browser.conftest import Opener, Server, Watched
from tests.ui.planted import PlantedEnsemble, PlantedSession
from tests.ui.steps import member, step

pytestmark = pytest.mark.browser

SMALL, LARGE = member("Small", 0.6, {b"\xe6\x97": 0.6}, weight=0.75), member("Large", 0.5, weight=0.25, num_read=0)
STEPS = [
    step(0, b"\xe6\x97", {"Large": ()}, members=(SMALL, LARGE), is_open=True, top={b"x": 0.2}),
    step(1, b"\xa5", {"Large": ()}, members=(SMALL, LARGE), is_open=True),
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
    page.page.click(f".gac-ensemble .tok >> nth={index}")
    page.page.wait_for_selector(f".gac-inspector h3:text-is('Token {index + 1}')")
    return page.text(".gac-inspector").replace("\n", " ")


def test_open_tokens_are_marked_and_explained(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(CutDifferently()))
    page.ask("hello")
    assert page.page.locator(".gac-ensemble .tok.o").count() == 2
    assert "beginning of a longer token of a member" in page.text(".gac-ensemble .gac-legend")
    assert "shown with the token that follows" in page.text(".gac-ensemble .gac-legend")

    first = inspect(page, 0)
    assert "part of the character 日" in first
    assert "Open:" in first
    assert "is inside a longer token of its own, 日本, whole at token 3" in first
    assert "needed no forward pass" in first
    assert page.page.locator(".gac-inspector .is-chosen .gac-tick").count() == 3  # in every list, though no favourite
    bars = page.page.eval_on_selector_all(".gac-weights i", "bars => bars.map(bar => bar.style.width)")
    assert bars == ["75%", "25%"]
    assert "reads tokens 1 to 3 again, together: 日本" in inspect(page, 2)


def test_the_same_text_cut_otherwise_is_no_difference(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(PlantedEnsemble(pieces=("Par", "is", ""), alone=(" Paris", ""))))
    page.ask("hello")
    assert page.page.locator(".tok.fork").count() == 0
    assert "differs" not in page.text(".gac-members")
    assert page.page.locator(".gac-legend-open:visible, .gac-legend-parts:visible").count() == 0


@pytest.mark.parametrize(
    ("answer", "is_code"),
    [
        (("Sure:", "\n", "```", "python\n"), True),
        (("if x:\n", "  ", "  return"), True),
        (("\t", "x"), True),
        ((" Two words.", "\n\n", " And", " more."), False),
        (("a", "    ", "b", "\n    ", "\n"), False),
    ],
)
def test_code_stands_in_a_monospaced_font(
    serve: Server, open_page: Opener, answer: tuple[str, ...], is_code: bool
) -> None:
    page = open_page(serve(PlantedEnsemble(pieces=answer)))
    page.ask("hello")
    style = "getComputedStyle(document.querySelector('.gac-ensemble .gac-text'))"
    assert ("Mono" in page.page.evaluate(f"{style}.fontFamily.split(',')[0]")) is is_code
    assert page.page.evaluate(f"{style}.whiteSpaceCollapse") == "preserve"


def test_a_run_made_with_other_settings_says_which(serve: Server, open_page: Opener) -> None:
    page = open_page(serve())
    page.ask("hello")
    assert not page.page.is_visible(".gac-ran-with")
    page.page.click("#gac-summary")
    page.page.get_by_label("Paper: only equal tokens").check()
    page.page.get_by_label("Posterior").check()
    page.page.get_by_label("Stop strings").fill("END\n\\n\\n")
    page.page.get_by_label("Stop strings").blur()
    page.page.wait_for_selector("#gac-summary:has-text('posterior weights · paper alignment')")
    page.page.wait_for_selector("#gac-summary:has-text('2 stop strings')")
    page.page.wait_for_selector(".gac-ran-with:has-text('equal weights · prefix alignment')")
    page.ask("again")
    assert not page.page.is_visible(".gac-ran-with")
