"""Text reaches 4.5:1 against what it stands on, in both modes (WCAG 2.1, 1.4.3)."""

from __future__ import annotations

from tests.browser.conftest import Watched

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
