"""The theme as it is chosen: kept, there from the first frame on, in all charts; and no motion where none is wanted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.conftest import Opener, Server, Site, wait_for_start
from tests.browser.test_lab import run_calibration
from tests.browser.test_lab import site as lab_site

pytestmark = pytest.mark.browser
site = lab_site

# What stands behind everything, frame by frame from the beginning.
WATCH_GROUND = """() => {
  window.grounds = new Set();
  const look = () => {
    requestAnimationFrame(look);
    if (!document.body) return;
    const of = (part) => part && getComputedStyle(part).backgroundColor;
    const clear = 'rgba(0, 0, 0, 0)', ground = [document.body, document.documentElement].map(of).find((colour) => colour && colour !== clear);
    window.grounds.add(ground ?? `canvas ${getComputedStyle(document.documentElement).colorScheme}`);
  };
  look();
}"""  # noqa: E501
DARK = {"rgb(15, 17, 21)", "canvas dark"}
LIGHT = {"rgb(246, 246, 243)", "canvas light"}


def grounds_of_a_load(page: Any) -> set[str]:
    page.add_init_script(f"({WATCH_GROUND})()")
    page.reload()
    wait_for_start(page)
    page.wait_for_selector("#gac-prompt textarea")
    return set(page.evaluate("[...window.grounds]"))


@pytest.mark.parametrize(("system", "chosen", "allowed"), [("light", "dark", DARK), ("dark", "light", LIGHT)])
def test_the_chosen_theme_stays_without_a_flash(
    serve: Server, open_page: Opener, system: str, chosen: str, allowed: set[str]
) -> None:
    page = open_page(serve(), is_new=True, color_scheme=system).page
    page.select_option("select[name=theme]", chosen)
    assert page.evaluate("document.body.classList.contains('dark')") == (chosen == "dark")
    assert grounds_of_a_load(page) <= allowed
    assert page.evaluate("document.body.classList.contains('dark')") == (chosen == "dark")
    assert page.input_value("select[name=theme]") == chosen
    assert "__theme" not in page.url
    page.emulate_media(color_scheme=chosen)
    page.emulate_media(color_scheme=system)  # the system changes, the choice does not
    assert page.evaluate("document.body.classList.contains('dark')") == (chosen == "dark")
    page.select_option("select[name=theme]", "system")
    assert page.evaluate("document.body.classList.contains('dark')") == (system == "dark")


@pytest.mark.parametrize(("system", "allowed"), [("light", LIGHT), ("dark", DARK)])
def test_without_a_choice_the_system_s_theme_holds(
    serve: Server, open_page: Opener, system: str, allowed: set[str]
) -> None:
    page = open_page(serve(), is_new=True, color_scheme=system).page
    assert page.input_value("select[name=theme]") == "system"
    assert grounds_of_a_load(page) <= {*allowed, "canvas light dark"}
    other = "dark" if system == "light" else "light"
    page.emulate_media(color_scheme=other)
    page.wait_for_function(f"document.body.classList.contains('dark') === {'true' if other == 'dark' else 'false'}")


def test_charts_follow_the_chosen_theme(site: Site, open_page: Opener) -> None:
    page = open_page(site, color_scheme="light").page
    run_calibration(page)
    colours = """() => {
      const label = document.querySelector('#gac-lab-plots svg.marks text');
      return getComputedStyle(label).fill; }"""
    light = page.evaluate(colours)
    page.select_option("select[name=theme]", "dark")
    page.wait_for_function(f"({colours})() !== '{light}'")
    page.click("button[role=tab]:has-text('Compare')")
    page.fill("#gac-prompt textarea", "hello")
    page.press("#gac-prompt textarea", "Enter")
    page.click(".gac-ensemble .gac-open")
    page.wait_for_selector(".gac-figures dd")
    drawn = "document.querySelector('.gac-plot canvas').toDataURL()"
    dark = page.evaluate(drawn)
    page.select_option("select[name=theme]", "light")
    page.wait_for_function(f"drawn => {drawn} !== drawn", arg=dark)
    page.select_option("select[name=theme]", "dark")
    page.wait_for_function(f"drawn => {drawn} === drawn", arg=dark)


MOVING = """() => [...document.querySelectorAll('*')].filter((part) => [null, '::before', '::after'].some((pseudo) => {
  const style = getComputedStyle(part, pseudo);
  const lasts = (times) => times.split(', ').some((time) => parseFloat(time) > 0);
  const isAnimated = style.animationName !== 'none' && lasts(style.animationDuration);
  return isAnimated || lasts(style.transitionDuration) || style.scrollBehavior === 'smooth';
})).map((part) => part.outerHTML.slice(0, 90))"""


def test_nothing_moves_for_who_wants_it_so(site: Site, open_page: Opener) -> None:
    page = open_page(site, reduced_motion="reduce")
    scrolls = """() => { window.smooth = []; for (const name of ['scrollIntoView', 'scrollTo', 'scrollBy']) {
      const own = Element.prototype[name]; Element.prototype[name] = function (how, ...rest) {
        if (how?.behavior === 'smooth') window.smooth.push(name); return own.call(this, how, ...rest); }; } }"""
    page.page.evaluate(scrolls)
    assert page.page.evaluate(MOVING) == []
    page.ask("hello", and_wait=False)
    page.wait_for_tokens(1)
    assert page.page.evaluate(MOVING) == []
    page.wait_for_end()
    page.click_token(1)
    page.page.wait_for_selector(".gac-inspector .gac-bars")
    page.page.click(".gac-summary")
    assert page.page.evaluate(MOVING) == []
    page.page.click(".gac-settings [data-act=close]")
    run_calibration(page.page)
    assert page.page.evaluate(MOVING) == []
    assert page.page.evaluate("window.smooth") == []
