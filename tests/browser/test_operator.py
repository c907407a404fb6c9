"""The operator's page in a browser: a token, a verdict, the controls; narrow and dark too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from gac_app.errors import BusyError
from gac_app.server.routes.operator import OperatorOnly, operator_page
from tests.browser.conftest import WAIT_MS, Watched, click
from tests.browser.test_axe import all_findings, with_axe
from tests.server.fakes import host_with
from tests.server.site import served
from tests.ui.planted import Planted, planted_arena
from tests.ui.planted_votes import plant_vote

pytestmark = pytest.mark.browser
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def planted(tmp_path: Path) -> Planted:
    planted = planted_arena(tmp_path)
    flags, client = ["burst", "agreement"], "0123456789abcdef"
    for number in range(3):
        plant_vote(planted.store, "zyxone", HOSTILE, "left", f"{number:064}", client=client, flags=flags)
    plant_vote(planted.store, "zyxone", "zyxtwo", "left", "a" * 64, client="fedc")
    return planted


@pytest.fixture
def opened(planted: Planted, browser: Browser) -> Iterator[Watched]:
    with served(host_with(operator_page(planted.arena.operator, OperatorOnly("secret")))) as url:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en")
        watched = Watched(context.new_page(), url)
        watched.page.set_default_timeout(WAIT_MS)
        watched.listen()
        watched.page.goto(f"{url}/operator")
        yield watched
        context.close()


def test_from_the_token_to_verdicts_and_controls(opened: Watched, planted: Planted) -> None:
    page = opened.page
    with_axe(opened)
    assert all_findings(opened) == {}
    page.fill("[name=token]", "wrong")
    page.press("[name=token]", "Enter")
    page.wait_for_selector('.gac-operator-note:text-is("this needs the operator\'s token")')
    assert page.is_hidden(".gac-operator-inside")
    opened.faults.clear()  # the browser notes the refusal

    page.fill("[name=token]", "secret")
    page.press("[name=token]", "Enter")
    page.wait_for_selector(".gac-operator-inside:visible")
    assert "4 votes · 3 flagged · battles today: 4" in page.inner_text(".gac-operator-counts")
    assert HOSTILE in page.inner_text("[data-by=pair]")
    for width in opened.at_widths(390, 1280):
        assert all_findings(opened) == {}, width
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    page.check("[name=is_paused]")
    page.fill("[data-name=zyxone]", "0")
    page.fill("[name=battles_per_day]", "50")  # a verdict saves none of these, and takes none back
    page.fill("[name=since]", "2020-01-01T00:00")
    page.fill("[name=before]", "2099-01-01T00:00")
    page.select_option("[name=contestant]", "zyxtwo")
    page.locator(".gac-operator-span").get_by_role("button", name="Drop all").click()
    page.wait_for_selector(".gac-operator-counts:has-text('4 flagged')")
    assert set(planted.store.battles.verdicts().values()) == {"dropped"}
    assert page.input_value("[name=contestant]") == "zyxtwo", "a second verdict is on the same votes"

    click(page, ".gac-operator-controls button", then=".gac-operator-note:text-is('Saved.')")
    controls = planted.arena.operator.overview()["controls"]
    assert (controls["is_paused"], controls["battles_per_day"], controls["weights"]["zyxone"]) == (True, 50, 0)
    with pytest.raises(BusyError):
        planted.arena.start("b" * 64, "Hi")
    assert opened.faults == []
    page.fill("[data-name=zyxtwo]", "0")
    page.fill("[data-name=zyxthree]", "0")
    click(page, ".gac-operator-controls button", then=".gac-operator-note:has-text('at least two contestants')")
