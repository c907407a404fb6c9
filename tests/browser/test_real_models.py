"""The main job, on the real models: ask, watch, inspect, branch, vote, come back."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gac_app.bootstrap import build_services
from gac_app.environment import read_config
from tests.browser.conftest import Opener, Site, Watched, served

pytestmark = [pytest.mark.browser, pytest.mark.real]

LOAD_S = 180.0
NUM_TOKENS = "[...document.querySelectorAll('.gac-text')].map(text => text.tokens.count)"
FIRST_GATED = "document.querySelector('.gac-text').tokens.marks.all.flatMap(m => m.tokens).find(t => t.isGated).index"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The default ensemble behind its page, with a database of its own."""
    database = tmp_path_factory.mktemp("data") / "runs.sqlite3"
    config = read_config(None, os.environ).model_copy(update={"database_url": f"sqlite:///{database}"})
    services = build_services(config)
    with served(services.runs, services.lab) as site:
        yield site


@pytest.fixture
def page(site: Site, open_page: Opener) -> Watched:
    page = open_page(site)  # at once, whatever the models' state
    until = time.monotonic() + LOAD_S
    while not site.service.is_ready:
        assert time.monotonic() < until, site.service.member_states()
        time.sleep(0.2)
    return page


def test_a_prompt_from_asking_to_coming_back(page: Watched, tmp_path: Path) -> None:
    prompt = "Give me three tips for learning to play the guitar."
    page.ask(prompt, and_wait=False)
    page.page.wait_for_function(f"{NUM_TOKENS}.every(count => count > 4)")
    early = page.page.evaluate(NUM_TOKENS)
    page.page.wait_for_function(f"{NUM_TOKENS}.some((count, i) => count > {early}[i] + 5)")
    page.wait_for_end(240)
    assert len(set(page.page.evaluate(NUM_TOKENS))) > 1, "three streams of equal length are one stream"

    page.click_token(page.page.evaluate(FIRST_GATED))
    page.page.wait_for_selector(".gac-inspector:not([hidden]) .gac-inspected >> nth=1")  # both members were asked
    page.page.keyboard.press("Escape")
    page.page.keyboard.press("n")
    page.page.wait_for_selector(".gac-inspector:not([hidden])")
    at = page.text(".gac-inspector header h3").removeprefix("Token ")
    alternative = page.text(".gac-bars li:has(.gac-branch) .gac-label >> nth=0")
    page.page.locator(".gac-branch").first.click()
    page.page.wait_for_selector(f"text=Branched at token {at}")
    page.wait_for_end(240)
    taken = page.page.evaluate(
        f"board => document.querySelector('.gac-text').tokens.partsOf({int(at) - 1}).at(-1).text"
    )
    assert alternative in ("END", taken.replace(" ", "␣").replace("\n", "⏎"))

    page.leave_fields()
    page.page.keyboard.press("1")
    page.page.wait_for_selector("text=Your choice: Ensemble")
    shown = page.page.evaluate("document.querySelector('.gac-ensemble .gac-text').textContent")

    page.page.reload()
    page.page.wait_for_function("window.gac?.stop")
    page.page.click("role=tab[name=History]")
    page.page.locator(".gac-run-open", has_text="ensemble best").click()
    page.page.wait_for_selector("text=Your choice: Ensemble")
    assert page.page.evaluate("document.querySelector('.gac-ensemble .gac-text').textContent") == shown
    page.click_token(page.page.evaluate(FIRST_GATED))
    page.page.wait_for_selector(".gac-inspector:not([hidden]) .gac-branch")


@pytest.mark.parametrize(
    "prompt", ["Привет! Как дела?", "写一首短诗。", "اكتب جملة عن البحر", "🙂👩‍👩‍👧 emoji", "a\tb\r\nc"]
)
def test_prompts_of_many_scripts(page: Watched, prompt: str) -> None:
    page.page.fill("#gac-prompt textarea", prompt)
    page.page.press("#gac-prompt textarea", "Enter")
    page.wait_for_tokens(4)
    page.page.evaluate("window.gac.stop()")
    page.wait_for_end(30)
    assert page.text(".gac-status").split(" ")[0] in ("Stopped", "Finished")
