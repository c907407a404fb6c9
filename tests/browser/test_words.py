"""The page's words: all are in the table, German is complete where it is looked at, and a choice of language stays."""

from __future__ import annotations

import re

import gradio as gr
import pytest

from gac_app.ui import assets
from gac_app.ui.words import tables
from tests.browser.conftest import Opener, Server, Site, Watched
from tests.browser.test_lab import site as lab_site

pytestmark = pytest.mark.browser
site = lab_site

# Everything that the page says, without names, what models and visitors wrote, and Gradio's hidden menu.
ALL_SAID = """() => {
  const page = document.body.cloneNode(true), texts = [];
  const others = ['script, style, svg, canvas, footer, nav, bdi, kbd, code, [dir=auto], .gac-written, .gac-rendered',
    '.vega-embed, .gac-spoken, .gac-diff optgroup, #gac-examples, .gac-look-language, [name=language]',
    '.progress-text, .overflow-menu'];
  for (const part of page.querySelectorAll(others.join())) part.remove();
  const walker = document.createTreeWalker(page, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) texts.push(walker.currentNode.data);
  const names = ['title', 'placeholder', 'aria-label', 'alt'];
  const attributes = [...page.querySelectorAll('*')].flatMap((part) => names.map((name) => part.getAttribute(name)));
  return [texts.join(' '), ...attributes.filter(Boolean)];
}"""
# Names: of the product, of files, of the planted members and what they say.
NAMES = re.compile(
    r"side by side|[A-Z][a-z]{2}\W+\d+\W+\d{4}\W+[\d:]+\W+[AP]M"
    r"|\b(?:Small|Large|Ensemble|CSV|JSONL?|SVG|PNG|GaC|END|terms|MB|kB|ms|EMNLP|slow)\b"
)


def unsaid(page: Watched) -> set[str]:
    """Words that stand on the page and in no table, where every word of the table is in brackets."""
    found = set()
    for text in page.page.evaluate(ALL_SAID):
        left = text
        while (shorter := re.sub(r"⟦[^⟦⟧]*⟧", " ", left)) != left:
            left = shorter
        found |= set(re.findall(r"[^\W\d_]{2,}", NAMES.sub(" ", left)))
    return found


@pytest.fixture
def bracketed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every word of the table in brackets, those of the server too."""
    words = {key: f"⟦{text}⟧" for key, text in tables()["en"].items()}
    # The page splits the label of a rule at its colon: the parts are bracketed.
    server = {english: ": ".join(f"⟦{part}⟧" for part in english.split(": ")) for english in tables()["de"]["server"]}
    monkeypatch.setattr(assets, "translations", lambda: gr.I18n(en={**words, "server": server}))


@pytest.mark.usefixtures("bracketed")
def test_all_words_of_compare_batch_and_history_are_listed(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(has_own_host=True))
    page.page.wait_for_selector("p.loading", state="detached")
    page.page.wait_for_selector(".gac-summary-text:text('⟦gate')")
    assert unsaid(page) == set()
    page.ask("hello")
    page.ask("and then?")
    page.click_token(1)
    page.page.wait_for_selector(".gac-inspector .gac-branch")
    assert unsaid(page) == set()
    page.page.locator(".gac-branch").first.click()
    page.page.wait_for_selector(".gac-of-branch")
    page.wait_for_end()
    page.page.click(".gac-keep summary")
    page.page.click(".gac-asked button:text('⟦Diff⟧')")
    assert unsaid(page) == set()
    page.page.keyboard.press("Escape")
    page.page.click(".gac-summary")
    page.page.click(".gac-settings summary:has-text('⟦Advanced⟧')")
    page.page.fill("#gac-set-max_new_tokens", "")
    page.page.wait_for_selector(".gac-field-note.is-fault")
    assert unsaid(page) == set()
    page.page.click(".gac-settings [data-act=close]")
    page.page.click("#gac-prompt .submit-button")
    page.page.wait_for_selector(".gac-notice:visible")
    assert unsaid(page) == set()


@pytest.mark.usefixtures("bracketed")
def test_every_word_of_the_other_tabs_is_in_the_table(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(has_own_host=True))
    page.ask("hello")
    page.page.click("role=tab[name=⟦History⟧]")
    page.page.wait_for_selector(".gac-run-prompt")
    page.page.click("[data-act=filters]")
    assert unsaid(page) == set()
    page.page.click("role=tab[name=⟦Batch⟧]")
    page.page.fill("[name=prompts]", "One?\nTwo?")
    page.page.click(".gac-batch .gac-lab-run")
    page.page.wait_for_selector(".gac-batch-table .gac-vote:text-is('⟦Tie⟧') >> nth=1")
    assert unsaid(page) == set()


def test_german_is_what_a_german_browser_gets(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(), locale="de-AT")
    assert page.page.get_attribute("html", "lang") == "de"
    assert {"Vergleich", "Stapel", "Verlauf", "Über"} <= set(page.page.get_by_role("tab").all_inner_texts())
    page.page.wait_for_selector(".gac-summary-text:text('Gate Small · fragt unter 50 % · gleiche Gewichte')")
    page.page.click("#gac-prompt .submit-button")
    page.page.wait_for_selector(".gac-notice:text('Die Frage ist leer. Bitte etwas eingeben.')")
    page.page.fill("#gac-prompt textarea", "Hallo")
    page.page.click("#gac-prompt .submit-button:text('Fragen')")
    page.page.wait_for_selector(".gac-status:text-matches('^Fertig · 21 Token · 0,0 s$')")
    page.click_token(1)
    page.page.wait_for_selector(".gac-verdict:text('Small war nur zu 40 % sicher.')")
    page.page.click(".gac-summary")
    page.page.click(".gac-settings summary:has-text('Für Fortgeschrittene')")
    page.page.fill("#gac-set-temperature", "9")
    page.page.wait_for_selector(".gac-field-note:text('0 oder eine Zahl von 0,01 bis 5 eingeben.')")
    page.page.fill("#gac-set-top_k", "-1")
    page.page.wait_for_selector("#gac-set-top_k-note:text('Eine ganze Zahl von 0')")
    page.page.click(".gac-settings [data-act=close]")
    page.page.fill("#gac-prompt textarea", "Und dann?")
    page.page.click("#gac-prompt .submit-button")
    page.page.wait_for_selector(".gac-notice:text('Einstellungen: Temperatur und Top-k bitte ansehen.')")


def test_a_language_without_a_table_is_english(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(), locale="fr-FR")
    assert page.page.get_by_role("tab").first.inner_text() == "Compare"
    assert page.page.locator("#gac-prompt .submit-button").inner_text() == "Run"


def test_the_chosen_language_stays(serve: Server, open_page: Opener) -> None:
    page = open_page(serve())
    page.ask("hello")
    with page.page.expect_navigation():
        page.page.select_option("select[name=language]", "de")
    page.page.wait_for_selector("#gac-prompt .submit-button:text('Fragen')")
    page.page.wait_for_selector(".gac-asked h2:text('hello')")  # the run is still there
    page.page.reload()
    page.page.wait_for_selector("role=tab[name=Vergleich]")


@pytest.mark.usefixtures("bracketed")
def test_all_words_of_the_lab_but_results_are_listed(site: Site, open_page: Opener) -> None:
    page = open_page(site)
    page.page.click("role=tab[name=⟦Lab⟧]")
    page.page.wait_for_selector(".gac-lab-study")
    page.page.wait_for_selector(".gac-lab-about:text('⟦')")
    page.page.evaluate("document.querySelectorAll('.gac-lab-protocol, [name=set]').forEach((part) => part.remove())")
    assert unsaid(page) == set()
