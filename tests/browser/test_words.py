"""The page's words: all are in the table, German is complete where it is looked at, and a choice of language stays."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import gradio as gr
import pytest

from gac_app.config_file import load_config
from gac_app.errors import Phrase, joined, packed
from gac_app.executors.members import in_background
from gac_app.folders import CONFIGS_DIR
from gac_app.services.battles.arena import ArenaService
from gac_app.services.lab.lab import Lab
from gac_app.services.runs.runs import RunService
from gac_app.storage import Store
from gac_app.ui import assets
from gac_app.ui.words import said, tables
from tests.browser.conftest import Opener, Server, Site, Watched, click, keep_calibration, served
from tests.fakes import FakeModel, config_of, ensemble_of
from tests.ui.planted_votes import plant_vote, plant_votes

pytestmark = pytest.mark.browser

# Everything that the page says, without names, what models and visitors wrote, and Gradio's hidden menu.
ALL_SAID = """() => {
  const page = document.body.cloneNode(true), texts = [];
  const others = ['script, style, svg, canvas, footer, nav, bdi, kbd, code, [dir=auto], .gac-written',
    '.vega-embed, .gac-spoken, #gac-examples, .gac-look-language, [name=language]',
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
    r"|\b(?:Small|Large|Ensemble|CSV|JSONL?|SVG|PNG|GaC|terms|MB|kB|ms|EMNLP|slow)\b"
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
    # A rule's label is a name and a sentence, which may be shown apart.
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
    page.click_token(1, then=".gac-inspector .gac-branch")
    assert unsaid(page) == set()
    page.page.locator(".gac-branch").first.click()
    page.page.wait_for_selector(".gac-of-branch")
    page.wait_for_end()
    page.click(".gac-keep summary", then=".gac-keep-items")
    assert unsaid(page) == set()
    page.page.keyboard.press("Escape")
    page.click(".gac-summary", ".gac-settings summary:has-text('⟦Research⟧')")
    page.fill("#gac-set-max_new_tokens", "", then=".gac-field-note.is-fault")
    assert unsaid(page) == set()
    page.click(".gac-settings [data-act=close]", "#gac-prompt .submit-button", then=".gac-notice:visible")
    assert unsaid(page) == set()
    page.page.fill("#gac-set-max_new_tokens", "9")
    page.click(".gac-settings [data-act=close]", "role=tab[name=⟦History⟧]", then=".gac-run-prompt")
    page.page.click("[data-act=filters]")
    assert unsaid(page) == set()
    page.page.click("role=tab[name=⟦Experiments⟧]")
    page.page.fill("[name=prompts]", "One?\nTwo?")
    page.click(".gac-batch .gac-lab-run", then=".gac-batch-table .gac-vote:text-is('⟦Tie⟧') >> nth=1")
    assert unsaid(page) == set()


def words_in(texts: Iterable[str]) -> set[str]:
    return {word.lower() for text in texts for word in re.findall(r"[^\W\d_]{3,}", text)}


def english_alone() -> set[str]:
    """Words that the page and the server say in English, and no German text has."""
    english, german = tables()["en"], tables()["de"]
    server = german.pop("server")
    return words_in([*english.values(), *server]) - words_in([*german.values(), *server.values()])


@pytest.fixture
def everything(tmp_path: Path) -> Iterator[Site]:
    """A page with all tabs, over two random members, with votes and examples as shipped."""
    models = [FakeModel("Alba", 1), FakeModel("Bora", 2)]
    shipped = load_config(CONFIGS_DIR / "default.yaml").examples
    config = config_of([model.name for model in models]).model_copy(update={"examples": shipped})
    store = Store(f"sqlite:///{tmp_path / 'runs.sqlite3'}")
    service = RunService(config, store)
    plant_votes(store, 80, ("Alba", "Bora", "every step", "gate"), config_hash=service.config_hash)
    plant_vote(store, "gate 0.25, posterior", "gate", "left", config_hash=service.config_hash)
    service.members.use(ensemble_of(models, config))
    lab = Lab(config, tmp_path / "evaluation", lambda: in_background(service.members.ensemble()), store)
    with served(service, lab, ArenaService(service, store)) as site:
        yield site
    lab.close()


def test_no_english_is_left_in_german(everything: Site, open_page: Opener) -> None:
    watched = open_page(everything, locale="de-AT")
    ensemble = everything.service.members.ensemble()
    known = (token for one in ensemble.members.values() for token in one.mapping.vocabulary.token_bytes if token)
    guessed = words_in(token.decode(errors="ignore") for token in known)
    assert everything.lab
    keep_calibration(everything.lab, ensemble)
    page, english = watched.page, english_alone() - guessed  # what members say and could have said

    found: dict[str, set[str]] = {}

    def look(where: str) -> None:
        charts = page.locator("svg.marks text").all_text_contents()
        told = page.locator("[role=graphics-document], [role=graphics-document] [aria-label]").evaluate_all(
            "all => all.map(part => part.ariaLabel)"
        )
        texts = [*page.evaluate(ALL_SAID), *charts, *told, *page.locator(".gac-examples button").all_inner_texts()]
        if left := words_in(texts) & english:
            found[where] = left

    assert page.get_attribute("html", "lang") == "de"
    look("start")
    page.locator(".gac-examples button").first.click()
    page.wait_for_selector(".gac-asked h2:text-matches('^Was ist')")
    watched.wait_for_end()
    watched.click_token(1)
    page.click(".gac-summary")
    page.fill("#gac-set-temperature", "9")
    page.wait_for_selector(".gac-field-note:text('0 oder eine Zahl von 0,01 bis 5 eingeben.')")
    look("settings")
    page.click(".gac-settings [data-act=close]")
    page.fill("#gac-prompt textarea", "Und dann?")
    click(page, "#gac-prompt .submit-button", then=".gac-notice:has-text('Temperatur')")
    look("notice")
    page.click(".gac-settings [data-act=close]")
    for tab, ready in (
        ("Arena", ".gac-arena"), ("Rangliste", "#gac-rated-plots svg.marks >> nth=1"), ("Experimente", ".gac-batch"),
        ("Verlauf", ".gac-run-prompt"), ("?", ".gac-about"), ("Experimente", ".gac-batch"), ("Labor", ".gac-lab-study"),
    ):  # fmt: skip
        click(page, f"button[role=tab]:visible:text-is('{tab}')", then=ready)
        look(tab)
    page.fill("[name=questions]", "4")
    page.click(".gac-lab-study:has-text('Benchmark')")
    click(page, ".gac-lab .gac-lab-run", then=".gac-lab-head h2:has-text('Benchmark')")
    look("Benchmark")
    click(page, ".gac-lab-kept .gac-run-open:has-text('Kalibrierung')", then="#gac-lab-plots svg.marks")
    look("Kalibrierung")
    assert found == {}
    parts = [Phrase("asks below {share}", share="12.5 %"), Phrase("seed {value}", value="3180639050373192")]
    name = joined(", ", [Phrase("ensemble"), *parts])
    of_page = "(name) => import('gac').then(({ modules }) => modules['page/words'].said(name))"
    assert said(name, "de") == "Ensemble, fragt unter 12,5 %, Seed 3180639050373192"
    assert page.evaluate(of_page, packed(name)) == said(name, "de")


def test_other_languages_are_english_and_a_choice_stays(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(), locale="fr-FR")
    assert page.page.get_by_role("tab").first.inner_text() == "Compare"
    page.ask("hello")
    with page.page.expect_navigation():
        page.page.select_option("select[name=language]", "de", force=True)
    page.page.wait_for_selector("#gac-prompt .submit-button:text('Fragen')")
    page.page.wait_for_selector(".gac-asked h2:text('hello')")  # the run is still there
    page.page.reload()
    page.page.wait_for_selector("role=tab[name=Vergleich]")
