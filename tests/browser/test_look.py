"""The theme as it is chosen: kept, there from the first frame on, in all charts; and no motion where none is wanted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.conftest import Opener, Server, Site, click, reload
from tests.browser.test_lab import show_calibration

pytestmark = pytest.mark.browser

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
GROUNDS = {"dark": {"rgb(15, 17, 21)", "canvas dark"}, "light": {"rgb(246, 246, 243)", "canvas light"}}


def grounds_of_a_load(page: Any) -> set[str]:
    page.add_init_script(f"({WATCH_GROUND})()")
    reload(page)
    page.wait_for_selector("#gac-prompt textarea")
    return set(page.evaluate("[...window.grounds]"))


MOVING = """() => [...document.querySelectorAll('*')].filter((part) => [null, '::before', '::after'].some((pseudo) => {
  const style = getComputedStyle(part, pseudo);
  const lasts = (times) => times.split(', ').some((time) => parseFloat(time) > 0);
  const isAnimated = style.animationName !== 'none' && lasts(style.animationDuration);
  return isAnimated || lasts(style.transitionDuration) || style.scrollBehavior === 'smooth';
})).map((part) => part.outerHTML.slice(0, 90))"""

GROUNDS_OF = "(parts) => [...document.querySelectorAll(parts)].map((part) => getComputedStyle(part).backgroundColor)"
IS_DARK = "document.body.classList.contains('dark')"


@pytest.mark.parametrize(("system", "chosen"), [("light", "dark"), ("dark", "light")])
def test_the_theme_is_there_without_a_flash(serve: Server, open_page: Opener, system: str, chosen: str) -> None:
    """The system's, until one is chosen, which stays, also in a plot that is drawn already."""
    page = (watched := open_page(serve(), is_new=True, color_scheme=system)).page
    assert page.input_value("select[name=theme]") == "system"
    assert grounds_of_a_load(page) <= {*GROUNDS[system], "canvas light dark"}
    watched.ask("hello")
    click(page, ".gac-details summary", then=".gac-figures dd")
    plot = "document.querySelector('.gac-plot canvas').toDataURL()"
    drawn = page.evaluate(plot)
    page.emulate_media(forced_colors="active")
    changed, asked, view, other = page.evaluate(GROUNDS_OF, ".gac-sample, .gac-views span")
    assert asked != changed == view != other, "with few colours too"
    page.emulate_media(color_scheme=chosen, forced_colors="none")  # type: ignore[arg-type]
    page.wait_for_function(f"{IS_DARK} === {str(chosen == 'dark').lower()}")
    page.emulate_media(color_scheme=system)  # type: ignore[arg-type]
    page.select_option("select[name=theme]", chosen, force=True)
    page.wait_for_function(f"drawn => {plot} !== drawn", arg=drawn)
    assert grounds_of_a_load(page) <= GROUNDS[chosen]
    assert page.input_value("select[name=theme]") == chosen
    assert "__theme" not in page.url
    page.emulate_media(color_scheme=chosen)  # type: ignore[arg-type]
    page.emulate_media(color_scheme=system)  # type: ignore[arg-type]
    assert page.evaluate(IS_DARK) == (chosen == "dark"), "the system changes, the choice does not"
    page.select_option("select[name=theme]", "system", force=True)
    assert page.evaluate(IS_DARK) == (system == "dark")


def test_nothing_moves_for_who_wants_it_so(lab_site: Site, open_page: Opener) -> None:
    page = open_page(lab_site, reduced_motion="reduce")
    scrolls = """() => { window.smooth = []; for (const name of ['scrollIntoView', 'scrollTo', 'scrollBy']) {
      const own = Element.prototype[name]; Element.prototype[name] = function (how, ...rest) {
        if (how?.behavior === 'smooth') window.smooth.push(name); return own.call(this, how, ...rest); }; } }"""
    page.page.evaluate(scrolls)
    page.page.wait_for_function(f"({MOVING})().length === 0")  # Gradio's own signs of loading are gone
    page.ask("hello", and_wait=False)
    page.wait_for_tokens(1)
    assert page.page.evaluate(MOVING) == []
    page.wait_for_end()
    page.click_token(1, then=".gac-inspector .gac-bars")
    page.page.click(".gac-summary")
    assert page.page.evaluate(MOVING) == []
    page.page.click(".gac-settings [data-act=close]")
    show_calibration(page.page)
    assert page.page.evaluate(MOVING) == []
    assert page.page.evaluate("window.smooth") == []
