"""The Lab in a browser: a study is run, looked at, exported, called off."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gac_app.executors.background import in_background
from gac_app.services.lab import Lab
from gac_app.services.runs import RunService
from gac_app.storage import Store
from tests.browser.conftest import Opener, Site, served
from tests.fakes import FakeModel, config_of, ensemble_of

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Two random members, one of a hostile name, behind a page with a Lab."""
    models = [FakeModel("slow", 1, delay_s=0.003), FakeModel(HOSTILE, 2)]
    config = config_of([model.name for model in models])
    service = RunService(config, Store(f"sqlite:///{tmp_path / 'runs.sqlite3'}"))
    service.use(ensemble_of(models, config))
    lab = Lab(config, tmp_path / "evaluation", lambda: in_background(service.ready_ensemble()))
    with served(service, lab) as site:
        yield site
    lab.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_a_study_is_run_shown_and_exported(site: Site, open_page: Opener, width: int) -> None:
    page = open_page(site, viewport={"width": width, "height": 900}).page
    page.click("button[role=tab]:has-text('Lab')")
    page.click(".gac-lab-study:has-text('Calibration')")
    assert page.inner_text(".gac-lab-about") == "Whether each is as often right as it is sure."
    page.fill("[name=questions]", "4")
    page.click(".gac-lab-run")
    page.wait_for_selector(".gac-lab-result h2:text-is('Calibration')")
    assert page.inner_text(".gac-lab-table tbody tr:nth-child(2) th") == f"alone:{HOSTILE}"
    assert page.evaluate("document.querySelector('.gac-lab-plot img').naturalWidth") > 300
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is not scrolled sideways"
    for ending, first in (("csv", b"system,accuracy"), ("json", b"{"), ("svg", b"<svg"), ("png", b"\x89PNG")):
        with page.expect_download() as download:
            page.click(f".gac-lab-exports button:text-is('{ending.upper()}')")
        assert download.value.suggested_filename.endswith(f".{ending}")
        assert Path(download.value.path()).read_bytes().startswith(first)
    page.reload()
    page.wait_for_function("window.gac?.stop")
    page.click("button[role=tab]:has-text('Lab')")
    page.click(".gac-lab-kept .gac-run-open")
    page.wait_for_selector(".gac-lab-result h2:text-is('Calibration')")


def test_a_study_is_called_off_and_another_visitor_only_sees_it(site: Site, open_page: Opener) -> None:
    mine, theirs = open_page(site).page, open_page(site).page
    for page in (mine, theirs):
        page.click("button[role=tab]:has-text('Lab')")
        page.wait_for_selector(".gac-lab-study")
    mine.fill("[name=questions]", "40")
    mine.click(".gac-lab-run")
    mine.wait_for_selector(".gac-lab-progress:has-text('Benchmark on trivia')")
    theirs.click("button[role=tab]:has-text('About')")
    theirs.click("button[role=tab]:has-text('Lab')")
    theirs.wait_for_selector(".gac-lab-progress:has-text('Benchmark on trivia')")
    assert not theirs.is_visible("[data-act=cancel]")
    assert theirs.is_disabled(".gac-lab-run")
    started = time.monotonic()
    mine.click("[data-act=cancel]")
    mine.wait_for_selector(".gac-lab-note:has-text('The study was cancelled.')")
    assert time.monotonic() - started < 10
    mine.wait_for_selector(".gac-lab-run:enabled")
    theirs.wait_for_selector(".gac-lab-run:enabled")


def test_what_does_not_fit_is_said(site: Site, open_page: Opener) -> None:
    page = open_page(site).page
    page.click("button[role=tab]:has-text('Lab')")
    page.wait_for_selector(".gac-lab-study")
    page.evaluate("document.querySelector('.gac-lab-form').noValidate = true")
    page.fill("[name=questions]", "400")
    page.click(".gac-lab-run")
    page.wait_for_selector(".gac-lab-note:has-text('expected 4 to 40')")
