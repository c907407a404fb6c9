"""The page's lag behind the server in a real browser, with five streams of 60 tokens per second.

The last token of each stream contains its time; a script checks at every frame whether it is shown.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from gac_app.bench.rows import NotMeasured, Row, Target
from gac_app.bench.starting import child_server, free_port, wait_for
from gac_app.bench.steady_ensemble import END_MARK, NUM_MEMBERS, TOKENS_PER_S
from gac_app.bench.workbench import Workbench

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

NUM_TOKENS, NUM_TOKENS_QUICK = 1000, 200
_NAMES = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser")
_HOW_TO_GET_ONE = "needs a browser: pip install playwright, then python -m playwright install chromium"
_LAGS = """([mark, count]) => new Promise((resolve) => {
  const lags = new Map();
  const look = () => {
    for (const text of document.querySelectorAll(".gac-text")) {
      const shown = text.lastElementChild?.firstChild?.data ?? "", at = shown.lastIndexOf(mark);
      if (at >= 0 && !lags.has(text)) lags.set(text, Date.now() - Number(shown.slice(at + mark.length)));
    }
    if (lags.size === count) resolve([...lags.values()]);
    else requestAnimationFrame(look);
  };
  look();
})"""


def measure(bench: Workbench) -> list[Row]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise NotMeasured(_HOW_TO_GET_ONE) from None
    num_tokens = NUM_TOKENS_QUICK if bench.is_quick else NUM_TOKENS
    port = free_port()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, sync_playwright() as playwright:
        browser = _launched(playwright)
        database = str(Path(folder) / "bench.sqlite3")
        with child_server(["-m", "gac_app.bench.steady_ensemble", str(port), database, str(num_tokens)]) as server:
            url = f"http://127.0.0.1:{port}/"
            wait_for(server, url)
            lags_s = _lags_s(browser, url, num_tokens)
        browser.close()
    note = f"{len(lags_s)} streams of {num_tokens} tokens; median {median(lags_s):.2f} s"
    name = f"streaming page: lag of the last token, {TOKENS_PER_S} tokens/s"
    return [Row(name, max(lags_s), "s", Target("<=", 0.5), note)]


def _launched(playwright: Playwright) -> Browser:
    from playwright.sync_api import Error

    path = os.environ.get("GAC_BROWSER") or next(filter(None, map(shutil.which, _NAMES)), None)
    try:
        return playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
    except Error:
        raise NotMeasured(_HOW_TO_GET_ONE) from None


def _lags_s(browser: Browser, url: str, num_tokens: int) -> list[float]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(1000 * (60 + 2 * num_tokens / TOKENS_PER_S))
    page.goto(url)
    page.wait_for_function("window.gac?.stop")
    page.fill("#gac-prompt textarea", "Speak steadily")
    page.press("#gac-prompt textarea", "Enter")
    lags_ms: list[float] = page.evaluate(_LAGS, [END_MARK, NUM_MEMBERS + 1])
    return [lag / 1000 for lag in lags_ms]
