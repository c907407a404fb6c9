"""The main job, on the real models: ask, watch, inspect, branch, vote, come back."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from gac_app.bootstrap import build_services
from gac_app.environment import read_config
from gac_app.ui.compare.run_handlers import PERIOD_S
from tests.browser.conftest import Opener, Site, Watched, reload, served
from tests.services.house import until

pytestmark = [pytest.mark.browser, pytest.mark.real]

LOAD_S = 180.0
ANSWER_MS = 120_000
# How many different lengths of each stream a frame has shown.
WATCH_GROWTH = """() => { window.grown = [new Set(), new Set(), new Set()];
  const look = () => { requestAnimationFrame(look);
    document.querySelectorAll('.gac-text').forEach((text, stream) => window.grown[stream].add(text.tokens?.count)); };
  look(); }"""
FIRST_GATED = "document.querySelector('.gac-text').tokens.marks.all.flatMap(m => m.tokens).find(t => t.isGated).index"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The default ensemble behind its page, answering briefly, with a database of its own."""
    database = tmp_path_factory.mktemp("data") / "runs.sqlite3"
    config = read_config(None, os.environ)
    brief = config.settings.model_copy(update={"max_new_tokens": 48})
    arena = config.arena.model_copy(update={"min_votes": 1, "min_seconds": 0.0})
    own = {"database_url": f"sqlite:///{database}", "settings": brief, "arena": arena}
    services = build_services(config.model_copy(update=own))
    with served(services.runs, services.lab, services.arena) as site:
        yield site


def opened(site: Site, open_page: Opener) -> Watched:
    """At once, whatever the models' state; handed out once they are ready."""
    watched = open_page(site)
    watched.page.set_default_timeout(ANSWER_MS)
    until(lambda: site.service.members.are_ready, "for the models", LOAD_S)
    return watched


def test_a_prompt_from_asking_to_coming_back(site: Site, open_page: Opener) -> None:
    page = opened(site, open_page)
    prompt = "Give me three tips for learning to play the guitar."
    page.page.evaluate(WATCH_GROWTH)
    page.ask(prompt)
    run = site.service._runs.all()[-1]
    for stream, lengths in zip(run.streams.values(), page.page.evaluate("grown.map((one) => [...one])"), strict=True):
        assert stream.finished
        # A fast machine ends a small member's answer within a few updates, and a busy browser skips some.
        num_updates = min(stream.finished.num_tokens, stream.finished.seconds / PERIOD_S)
        num_partial = sum(0 < (length or 0) < len(stream.steps) for length in lengths)
        print(f"{stream.name}: {num_partial} partial answers were seen in about {num_updates:.0f} updates")
        assert num_partial >= min(max(1, num_updates / 4), 4), "it streams"
    assert len(set(page.page.locator(".gac-text").all_text_contents())) == 3, "three equal streams are one stream"

    page.click_token(page.page.evaluate(FIRST_GATED))
    page.page.wait_for_selector(".gac-inspector:not([hidden]) .gac-inspected >> nth=1")  # both members were asked
    page.page.keyboard.press("Escape")
    page.press("n", then=".gac-inspector:not([hidden])")
    at = page.text(".gac-inspector header h3").removeprefix("Token ")
    alternative = page.text(".gac-bars li:has(.gac-branch) .gac-label >> nth=0")
    page.page.locator(".gac-branch").first.click()
    page.page.wait_for_selector(f"text=Branched at token {at}")
    page.wait_for_end()
    taken = page.page.evaluate(
        f"board => document.querySelector('.gac-text').tokens.partsOf({int(at) - 1}).at(-1).text"
    )
    assert alternative in ("end", taken.replace(" ", "␣").replace("\n", "⏎"))

    page.leave_fields()
    page.press("1", then="text=Your choice: Ensemble")
    shown = page.page.evaluate("document.querySelector('.gac-ensemble .gac-text').textContent")

    reload(page.page)
    page.page.click("role=tab[name=History]")
    page.page.locator(".gac-run-open", has_text="ensemble best").click()
    page.page.wait_for_selector("text=Your choice: Ensemble")
    assert page.page.evaluate("document.querySelector('.gac-ensemble .gac-text').textContent") == shown
    page.click_token(page.page.evaluate(FIRST_GATED), then=".gac-inspector:not([hidden]) .gac-branch")
