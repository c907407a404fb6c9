"""The Lab in a browser: a study is run and called off, results are looked at and exported."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, Request, Route

from gac_app.evaluation.studies.result import AskedQuestion, GivenAnswer, StudyResult
from tests.browser.conftest import CALLS, HOSTILE_NAME, Opener, Site, click, loading, reload, to_tab
from tests.browser.test_axe import MEASURE, all_findings, hard_to_read, with_axe
from tests.services.lab.test_lab import benchmark_data

pytestmark = pytest.mark.browser


def show_calibration(page: Page) -> None:
    """The result of the command line, which has charts and questions."""
    to_tab(page, "Lab")
    page.click(".gac-lab-kept .gac-run-open:has-text('Calibration')")
    page.wait_for_selector(".gac-lab-head h2:has-text('Calibration')")
    page.wait_for_selector("#gac-lab-plots svg.marks")


def run_benchmark(page: Page) -> None:
    to_tab(page, "Lab")
    page.click(".gac-lab-study:has-text('Benchmark')")
    page.fill("[name=questions]", "4")
    click(page, ".gac-lab-run:visible", then=".gac-lab-head h2:has-text('Benchmark')")


def test_a_result_of_the_command_line_is_shown_and_exported(lab_site: Site, open_page: Opener) -> None:
    page = open_page(lab_site, viewport={"width": 390, "height": 900}).page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.post_data or ""))
    to_tab(page, "Lab", then=".gac-lab-study")
    assert sum("lab_overview" in body for body in asked) == 1
    about = "Which settings suit these members, or whether the best of them alone does better; ten minutes at most."
    assert page.inner_text(".gac-lab-about") == about
    page.select_option("[name=set]", "sense")
    page.reload()
    page.wait_for_selector(".gac-lab-study")
    assert page.input_value("[name=set]") == "sense"
    show_calibration(page)
    shades = page.evaluate("getComputedStyle(document.querySelector('.gac-lab-table')).backgroundAttachment")
    assert shades == "local, local, scroll, scroll", "where it goes on there is a shadow"
    assert page.inner_text(".gac-lab-table tbody tr:nth-child(2) th") == f"{HOSTILE_NAME} alone"
    verdict = r"ensemble, .+: No better than .+ alone here; 4 questions cannot tell any difference\."
    assert re.fullmatch(verdict, page.inner_text(".gac-lab-head .gac-outcome"))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is not scrolled sideways"
    chart = page.locator("#gac-lab-plots svg.marks").first.bounding_box()
    assert chart is not None
    assert 390 * 0.4 < chart["width"] <= 390
    for ending, first in (("csv", b"system,accuracy"), ("json", b"{"), ("svg", b"<svg"), ("png", b"\x89PNG")):
        with page.expect_download() as download:
            page.click(f".gac-lab-exports button:text-is('{ending.upper()}')")
        assert download.value.suggested_filename.endswith(f".{ending}")
        assert Path(download.value.path()).read_bytes().startswith(first)

    def late(route: Route) -> None:
        if "lab_overview" in (route.request.post_data or ""):
            time.sleep(0.5)
        route.continue_()

    page.route(CALLS, late)
    page.reload()
    page.wait_for_selector(".gac-lab-head h2")
    assert page.inner_text(".gac-lab-head h2").startswith("Calibration:"), "though its title comes late"
    page.unroute_all(behavior="wait")
    page.set_viewport_size({"width": 1280, "height": 900})
    to_tab(page, "Compare")
    page.go_back()
    page.wait_for_selector(".gac-lab-head h2:has-text('Calibration')")
    page.goto(f"{lab_site.url}?tab=lab")
    page.click(".gac-lab-kept .gac-run-open")
    page.wait_for_url("**/?tab=lab&study=*")
    page.wait_for_selector(".gac-lab-head h2:has-text('Calibration')")
    page.click(".gac-lab-words summary")
    assert "expected calibration error" in page.inner_text(".gac-lab-words")
    page.locator(".gac-lab-questions summary").first.click()
    page.wait_for_selector(".gac-lab-answers li >> nth=2")  # drawn as the question opens
    assert page.locator(".gac-lab-answers li").count() == 3
    question = page.inner_text(".gac-lab-questions .gac-lab-prompt")
    click(page, ".gac-lab-questions button:text-is('Ask in Compare')", then="#gac-prompt textarea:visible")
    page.wait_for_function("document.querySelector('#gac-prompt textarea').value")
    assert page.input_value("#gac-prompt textarea") == question


HAS_MEMBERS_COLOUR = """() => {
  const probe = document.createElement('i');
  probe.style.color = getComputedStyle(document.querySelector('[data-w="0"]')).getPropertyValue('--w');
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  const dots = [...document.querySelectorAll('#gac-lab-plots .mark-symbol path')];
  return dots.some((dot) => getComputedStyle(dot).fill === color); }"""


def test_charts_have_the_pages_colours_and_axe_is_silent(lab_site: Site, open_page: Opener) -> None:
    page = (watched := open_page(lab_site)).page
    show_calibration(page)
    for scheme in watched.in_both_schemes():
        page.wait_for_function(HAS_MEMBERS_COLOUR)
        ground = page.evaluate("getComputedStyle(document.querySelector('#gac-lab-shown')).backgroundColor")
        assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
        page.locator("#gac-lab-plots .mark-symbol path").first.hover(force=True)
        page.wait_for_selector("#vg-tooltip-element.visible:has-text('confidence')")
        assert page.evaluate(MEASURE) == []
        page.mouse.move(5, 5)
    with_axe(watched)
    page.click(".gac-lab-words summary")
    page.locator(".gac-lab-questions summary").first.click()
    for width in watched.at_widths(390, 1280):
        assert all_findings(watched) == {}, width


def test_batches_and_studies_wait_for_the_models(lab_site: Site, open_page: Opener) -> None:
    """Where a new server has to say that they load, and where the page knows it, also after a reload."""
    awaits, run = ".gac-lab-note:has-text('Will be asked as soon as')", ".gac-lab-run"
    page = open_page(lab_site).page
    page.wait_for_selector(".gac-chips li >> nth=1", state="attached")

    def to(tab: str, done: str = awaits) -> None:
        to_tab(page, tab, then=f".gac-{tab.lower()} {done}")

    with loading(lab_site.service, "slow"):
        to("Batch", run)
        page.fill("[name=prompts]", "One?")
        page.click(f".gac-batch {run}")
        to("Batch")
        page.reload()
        to("Batch")
        to("Lab", ".gac-lab-study")
        page.click(".gac-lab-study:has-text('Benchmark')")
        page.fill("[name=questions]", "4")
        page.click(f".gac-lab {run}")
        to("Lab")
    page.wait_for_selector(".gac-lab-kept li:has-text('Benchmark')")
    to("Batch", ".gac-batch-table tr:nth-child(1) .gac-vote:text-is('Tie')")
    assert page.locator(awaits).count() == 0


def test_a_result_is_renamed_deleted_and_private(lab_site: Site, open_page: Opener) -> None:
    mine, theirs = open_page(lab_site).page, open_page(lab_site).page
    run_benchmark(mine)
    theirs.goto(mine.url)
    theirs.wait_for_selector(".gac-lab-head .is-error:has-text('no such')")
    theirs.wait_for_selector(".gac-lab-study")
    assert theirs.locator(".gac-lab-kept li:has-text('Benchmark')").count() == 0
    mine.click(".gac-lab-kept button:text-is('Rename')")
    mine.fill(".gac-lab-kept input", "My <b>first</b>")
    mine.press(".gac-lab-kept input", "Enter")
    mine.wait_for_selector(".gac-run-prompt:text-is('My <b>first</b>')")
    mine.click(".gac-lab-kept button:text-is('Delete')")
    click(mine, ".gac-lab-kept button.gac-danger:text-is('Delete'):focus")
    mine.wait_for_selector(".gac-lab-head", state="hidden")


def test_own_questions_from_a_file_the_browser_reads(lab_site: Site, open_page: Opener, tmp_path: Path) -> None:
    page = (watched := open_page(lab_site)).page
    file = tmp_path / "mine.csv"
    file.write_text("question,choices,answer\n" + "\n".join(f"Is {n} even?,yes|no,yes" for n in range(5)))
    to_tab(page, "Lab")
    page.click(".gac-lab-study:has-text('Benchmark')")
    page.select_option("[name=set]", "own")
    page.fill("[name=questions]", "20")
    page.set_input_files(".gac-lab .gac-own input[type=file]", str(file))
    page.wait_for_function("document.querySelector('[name=own]').value.includes('Is 4 even?')")
    click(page, ".gac-lab-run:visible", then=".gac-lab-note:has-text('own has only 5 questions')")
    page.fill("[name=questions]", "5")
    click(page, ".gac-lab-run:visible", then=".gac-lab-head h2:has-text('own: 5 questions')")
    reload(page)
    page.wait_for_function("document.querySelector('[name=own]')?.value.includes('Is 4 even?')")
    page.wait_for_selector(".gac-lab-head h2:has-text('own: 5 questions')")
    to_tab(page, "History")
    page.click("text=Delete all my data")
    watched.confirm_deletion()
    to_tab(page, "Lab", then=".gac-lab-head", state="hidden")


def test_a_study_is_called_off_and_another_visitor_only_sees_it(lab_site: Site, open_page: Opener) -> None:
    mine, theirs = open_page(lab_site).page, open_page(lab_site).page
    for page in (mine, theirs):
        to_tab(page, "Lab", then=".gac-lab-study")
    mine.click(".gac-lab-study:has-text('Benchmark')")
    mine.fill("[name=questions]", "40")
    click(mine, ".gac-lab .gac-lab-run", then=".gac-lab-progress:has-text('Benchmark (trivia): ')")
    to_tab(theirs, "?")
    to_tab(theirs, "Lab", then=".gac-lab-progress:has-text('Benchmark (trivia): ')")
    assert not theirs.is_visible(".gac-lab [data-act=cancel]")
    assert theirs.is_disabled(".gac-lab .gac-lab-run")
    click(mine, ".gac-lab [data-act=cancel]", then=".gac-lab-note:has-text('The study was cancelled.')")
    mine.wait_for_selector(".gac-lab .gac-lab-run:enabled")
    theirs.wait_for_selector(".gac-lab .gac-lab-run:enabled")


def test_the_last_choice_is_shown_and_its_advice_until_followed(lab_site: Site, open_page: Opener) -> None:
    watched, strong = open_page(lab_site), HOSTILE_NAME
    page, files = watched.page, lab_site.lab.results.files
    to_tab(page, "Lab", then=".gac-lab-study")
    data, names = benchmark_data("trivia", **{"slow": 0.4, strong: 0.8}), ("first: 40", "trivia: 40 questions")
    right = {"alone:slow": False, "alone:slow, wrong beginning": True, "every-step": False}
    answers = [GivenAnswer(system, "", is_right) for system, is_right in right.items()]
    asked = [AskedQuestion("?", "?", "!", answers)] * 6  # so few tell of one ensemble, not of the best of two
    kept = [files.keep(StudyResult("eval", name, [], data, asked=asked), ("slow", strong)) for name in names]
    to_tab(page, "Compare")
    to_tab(page, "Lab")
    late = list[Route]()

    def wanted(request: Request) -> bool:
        return '"result":' in (request.post_data or "")

    def hold(route: Route) -> None:
        late.append(route) if wanted(route.request) and len(late) < 2 else route.continue_()

    page.route("**/gradio_api/run/**", hold)
    for name in names:
        with page.expect_request(wanted):
            page.click(f".gac-lab-kept .gac-run-prompt:has-text('{name}')")
    while len(late) < 2:
        page.wait_for_timeout(20)
    late[1].continue_()
    page.wait_for_selector(f".gac-lab-head h2:has-text('{names[1]}')")
    with page.expect_request(wanted):
        late[0].continue_()
    page.wait_for_selector(f".gac-lab-head h2:has-text('{names[1]}')")
    assert "Worse than slow alone, wrong beginning here: 0 to 6" in page.inner_text(".gac-lab-head .gac-outcome")
    to_tab(page, "Compare", then=f".gac-advice:text('On trivia (40 questions), behind {strong}: slow by 50 %.')")
    for _ in watched.at_widths(390, 1280):
        assert hard_to_read(watched) == {}
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is not scrolled sideways"
    watched.open_settings()
    page.check(f".gac-settings input[type=radio][value='{strong}']")
    page.wait_for_selector(".gac-advice", state="hidden")
    page.select_option(".gac-presets select", "Defaults")
    page.wait_for_selector(".gac-advice")
    for one in kept:
        files.delete(one.id)
