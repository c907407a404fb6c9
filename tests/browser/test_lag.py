"""The page keeps up with five streams of 60 tokens per second, from a server that speaks at a steady pace.

The last token of each stream contains its time; a script checks at every frame whether it is shown. On a quiet machine
`GAC_LAG_TOKENS=1000 pytest -s -m long tests/browser/test_lag.py` prints the lag for the table of docs/performance.md.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import wait_for_start
from tests.server.site import child
from tests.server.steady_ensemble import END_MARK, NUM_MEMBERS, TOKENS_PER_S

pytestmark = [pytest.mark.browser, pytest.mark.process, pytest.mark.long]
NUM_TOKENS = int(os.environ.get("GAC_LAG_TOKENS", "40"))
LAGS = """([mark, count]) => new Promise((resolve) => {
  const lags = new Map();
  const look = () => {
    for (const text of document.querySelectorAll(".gac-text")) {
      const shown = text.textContent, at = shown.lastIndexOf(mark);
      if (at >= 0 && !lags.has(text)) lags.set(text, Date.now() - Number(shown.slice(at + mark.length)));
    }
    if (lags.size === count) resolve([...lags.values()]);
    else requestAnimationFrame(look);
  };
  look();
})"""


def test_the_last_token_is_shown_soon_after_it_came(tmp_path: Path, browser: Browser) -> None:
    with child(tmp_path, NUM_TOKENS) as site:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(1000 * (60 + 2 * NUM_TOKENS / TOKENS_PER_S))
        page.goto(site.url)
        wait_for_start(page)
        page.fill("#gac-prompt textarea", "Speak steadily")
        page.press("#gac-prompt textarea", "Enter")
        lags_ms: list[float] = page.evaluate(LAGS, [END_MARK, NUM_MEMBERS + 1])
        page.close()
    print(f"lag of the last token of {NUM_TOKENS}: {max(lags_ms) / 1000:.2f} s")
    assert len(lags_ms) == NUM_MEMBERS + 1
    assert -100 < max(lags_ms) < 10_000, "0.5 s on a quiet machine; here others may work"
