"""Members of unequal strength: the page says so under its settings, as long as those do not fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gac_app.evaluation.studies.result import StudyResult
from gac_app.executors.members import in_background
from gac_app.services.lab.lab import Lab
from gac_app.services.runs.runs import RunService
from gac_app.storage import Store
from tests.browser.conftest import Opener, Site, served, to_tab
from tests.browser.contrast import hard_to_read
from tests.databases import database_in
from tests.fakes import FakeModel, config_of, ensemble_of
from tests.services.lab.test_lab import benchmark_data, store_in

pytestmark = pytest.mark.browser

WEAK, STRONG = "<b>weak</b>", "strong-member-of-a-rather-long-name-7B-Instruct"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    models = [FakeModel(WEAK, 1), FakeModel(STRONG, 2)]
    config = config_of([WEAK, STRONG])
    ensemble = ensemble_of(models, config)
    yield Lab(config, tmp_path / "evaluation", lambda: in_background(ensemble), store_in(tmp_path))
    ensemble.close()


@pytest.fixture
def site(lab: Lab, tmp_path: Path) -> Iterator[Site]:
    service = RunService(config_of([WEAK, STRONG]), Store(database_in(tmp_path / "runs.sqlite3")))
    with served(service, lab) as site:
        yield site


def test_advice_comes_with_a_result_until_followed(lab: Lab, site: Site, open_page: Opener) -> None:
    watched = open_page(site)
    page = watched.page
    to_tab(page, "Lab")
    page.wait_for_selector(".gac-lab-study")
    data = benchmark_data("trivia", **{WEAK: 0.4, STRONG: 0.8})
    lab.results.files.keep(StudyResult("eval", "trivia: 40 questions", [], data), (WEAK, STRONG))
    to_tab(page, "Compare")
    to_tab(page, "Lab")
    page.wait_for_selector(".gac-lab-kept li")
    to_tab(page, "Compare")
    page.wait_for_selector(f".gac-advice:text('On trivia (40 questions), behind {STRONG}: {WEAK} by 50 %.')")
    for _ in watched.at_widths(390, 1280):
        assert hard_to_read(watched) == {}
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is not scrolled sideways"
    page.click(".gac-summary")
    page.click(".gac-settings summary:has-text('Research')")
    page.check(f".gac-settings input[type=radio][value='{STRONG}']")
    page.wait_for_selector(".gac-advice", state="hidden")
    page.select_option(".gac-presets select", "Defaults")
    page.wait_for_selector(".gac-advice")
