"""What axe-core finds on Compare, with its menus and dialogs, History and About: nothing serious or moderate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import axe_playwright_python
import pytest

from tests.browser.conftest import Opener, Server, Watched, to_tab

pytestmark = pytest.mark.browser

FINDINGS = """async ([part, rules]) => (await axe.run(part, { resultTypes: ['violations'], ...rules })).violations
  .filter((found) => ['moderate', 'serious', 'critical'].includes(found.impact))
  .map((found) => [found.id, found.impact, ...found.nodes.slice(0, 3).map((node) => node.html.slice(0, 160))])"""

LINKS_IN_TEXT = {"runOnly": ["link-in-text-block"]}


def findings(page: Watched, rules: Mapping[str, object] | None = None, part: str = "html") -> list[list[str]]:
    return page.page.evaluate(FINDINGS, [part, rules or {}])  # type: ignore[no-any-return]


def all_findings(page: Watched, part: str = "html") -> dict[str, list[list[str]]]:
    """By colour scheme: all rules in the light one; in the dark one, which differs in its colours alone, those of
    colours, where our own measure takes a tenth of the time of axe's.

    Args:
        part: what is new since the last look; the rest is as it was.
    """
    found = {}
    for scheme in page.in_both_schemes():
        if scheme == "light":
            found[scheme] = findings(page, part=part)
        else:
            found[scheme] = [*findings(page, LINKS_IN_TEXT, part), *page.page.evaluate(MEASURE)]
    return {scheme: faults for scheme, faults in found.items() if faults}


def with_axe(page: Watched) -> None:
    axe = Path(axe_playwright_python.__file__).with_name("axe.min.js")
    page.page.add_script_tag(content=axe.read_text("utf-8"))


def test_axe_has_nothing_to_say_of_the_compare_tab(serve: Server, open_page: Opener) -> None:
    page = open_page(serve())
    page.page.wait_for_selector("p.loading", state="detached")  # Gradio's, while the page is put together
    with_axe(page)
    assert all_findings(page) == {}
    page.ask("hello")
    page.ask("and then?")
    for width in page.at_widths(390, 1280):
        assert all_findings(page, ".gac-board") == {}, width
    page.page.click(".gac-keep summary")
    assert all_findings(page, ".gac-keep") == {}
    page.page.keyboard.press("Escape")
    page.click_token(1, then=".gac-inspector .gac-bars")
    assert all_findings(page, ".gac-inspector") == {}
    for width in page.at_widths(390, 768, 1920, 1280):
        assert page.page.evaluate("document.documentElement.scrollWidth") <= width
    for view in ("changes", "confidence"):
        page.page.check(f".gac-views input[value={view}]", force=True)
        assert hard_to_read(page) == {}, view
    page.page.keyboard.press("Escape")
    page.open_settings()
    page.fill("#gac-set-max_new_tokens", "", then=".gac-field-note.is-fault")
    for width in page.at_widths(1280, 390):
        assert all_findings(page, ".gac-settings") == {}, width


def test_axe_has_nothing_to_say_of_history_and_about(serve: Server, open_page: Opener) -> None:
    page = open_page(serve())
    with_axe(page)
    page.ask("hello")
    places = []
    for tab, content in (("Compare", ".gac-board"), ("History", ".gac-history"), ("?", "#gac-about")):
        to_tab(page.page, tab)
        box = page.page.wait_for_selector(content).bounding_box()
        assert box is not None
        places.append((box["x"], box["width"]))
        if tab == "History":
            page.page.wait_for_selector(".gac-run-prompt")
            page.page.click("[data-act=filters]")
            page.page.check(".gac-choose input")
        for width in page.at_widths(390, 1280) if tab != "Compare" else ():
            assert all_findings(page) == {}, (tab, width)
            assert page.page.evaluate("document.documentElement.scrollWidth") <= width
        if tab == "History":
            page.click("[data-act=delete-all]", then=".gac-dialog[open]")
            assert all_findings(page, ".gac-dialog") == {}
            page.page.keyboard.press("Escape")
    assert len(set(places)) == 1, "every tab has the same place"


# Walks up to the first opaque ground, blending half-transparent ones; returns what falls short.
MEASURE = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const drawn = new Map(), grounds = new Map();
  const draw = (css) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = css; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255]; };
  const rgba = (css) => { if (!drawn.has(css)) drawn.set(css, draw(css)); return drawn.get(css); };
  const over = (top, under) => top.slice(0, 3).map((c, i) => c * top[3] + under[i] * (1 - top[3]));
  const look = (node) => { if (!node) return [255, 255, 255]; const own = rgba(getComputedStyle(node).backgroundColor);
    return own[3] === 1 ? own.slice(0, 3) : over(own, ground(node.parentElement)); };
  const ground = (node) => { if (!grounds.has(node)) grounds.set(node, look(node)); return grounds.get(node); };
  const light = (rgb) => { const [r, g, b] = rgb.map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const bad = new Set();
  const walker = document.createTreeWalker(document.querySelector('.gradio-container') ?? document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !node.checkVisibility({visibilityProperty: true})) continue;
    if (node.closest(':disabled, style, script, .sr-only, .toggle-button')) continue;
    const under = ground(node), ink = over(rgba(getComputedStyle(node).color), under);
    const [a, b] = [light(ink), light(under)].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) bad.add(`${node.className || node.tagName}: ${ratio.toFixed(2)} ${walker.currentNode.textContent.trim().slice(0, 30)}`);
  }
  return [...bad];
}"""  # noqa: E501


def hard_to_read(page: Watched) -> dict[str, list[str]]:
    """By colour scheme."""
    return {scheme: found for scheme in page.in_both_schemes() if (found := page.page.evaluate(MEASURE))}
