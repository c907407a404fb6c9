"""Side by side above the fold, nothing moves while it is written, nothing covers anything."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.browser.conftest import Opener, Server, Watched, wait_for_start
from tests.ui.planted import ANSWER, PlantedEnsemble

pytestmark = pytest.mark.browser

LONG = tuple(f" word{i}" + "\n\n" * (i % 40 == 39) for i in range(400))
NAMES = ("Qwen2.5-0.5B-Instruct", "SmolLM2-360M-Instruct", "Third-of-a-longer-name-7B-Instruct", "Fourth")
WATCH_SHIFTS = """() => { window.shifts = [];
  const name = ({ node }) => `${node?.nodeName} ${node?.className ?? node?.parentElement?.className ?? ''}`;
  new PerformanceObserver((list) => { for (const entry of list.getEntries())
    if (!entry.hadRecentInput) window.shifts.push([entry.value, ...entry.sources.map(name)]); })
  .observe({ type: 'layout-shift', buffered: true }); }"""
BOXES = """(selector) => [...document.querySelectorAll(selector)].filter((e) => e.checkVisibility()).map((e) => {
  const { left, top, right, bottom } = e.getBoundingClientRect(); return [left, top, right, bottom]; })"""


def boxes(page: Watched, selector: str) -> list[list[float]]:
    return page.page.evaluate(BOXES, selector)  # type: ignore[no-any-return]


def overlap(a: list[float], b: list[float]) -> bool:
    return min(a[2], b[2]) - max(a[0], b[0]) > 1 and min(a[3], b[3]) - max(a[1], b[1]) > 1


def overlaps(parts: list[list[float]]) -> list[tuple[list[float], list[float]]]:
    return [(a, b) for i, a in enumerate(parts) for b in parts[:i] if overlap(a, b)]


@pytest.mark.parametrize(("num_members", "num_tokens"), [(2, 150), (4, 12)])
def test_nothing_moves_from_load_to_vote(serve: Server, open_page: Opener, num_members: int, num_tokens: int) -> None:
    # What moves within half a second of a key is not counted.
    site = serve(PlantedEnsemble(pieces=LONG[:num_tokens], pause_s=0.8 / num_tokens), members=NAMES[:num_members])
    page = open_page(site, is_new=True, locale="de" if num_members == 4 else "en")  # whose words are longer
    page.page.add_init_script(f"({WATCH_SHIFTS})()")
    for width, height in ((1280, 900), (1920, 900), (390, 844)):
        page.page.set_viewport_size({"width": width, "height": height})
        page.page.goto(site.url)
        wait_for_start(page.page)
        page.page.wait_for_selector("#gac-prompt textarea")
        assert boxes(page, ".gac-empty")[0][3] <= boxes(page, "#gac-dock")[0][1], "all of the explanation is in sight"
        page.ask(f"hello at {width}")
        assert len(boxes(page, ".gac-card")) == num_members + 1
        parts = [*boxes(page, ".gac-card"), *boxes(page, ".gac-votes")]
        if width != 390:
            check_columns(page)
            parts += boxes(page, "#gac-dock")
        assert overlaps(parts) == []
        if (num_members, width) == (2, 1280):
            read = page.page.evaluate(
                "[...document.querySelectorAll('.gac-body')].map(({ scrollTop }) => scrollTop > 0)"
            )
            assert read == [True, False, False], "a member's finished answer is read from its beginning"
        page.page.hover(".gac-vote >> nth=1")  # which scrolls a phone
        votes = boxes(page, ".gac-votes")
        page.page.click(".gac-vote >> nth=1")
        page.page.wait_for_selector(".gac-votes.is-voted button:visible")  # to take it back
        assert page.text(".gac-votes [role=status]").endswith(": Qwen2.5 0.5B")
        assert boxes(page, ".gac-votes") == votes
        shifts = page.page.evaluate("window.shifts")
        print(f"{num_members} members at {width}: {sum(value for value, *_ in shifts):.3f}")
        assert sum(value for value, *_ in shifts) < 0.05, (width, shifts)


def check_columns(page: Watched) -> None:
    """All answers begin on one line above the fold; the ensemble is wider; names are whole, or in the tip."""
    texts, cards = boxes(page, ".gac-body"), boxes(page, ".gac-card")
    assert len({top for _, top, _, _ in texts}) == 1
    assert texts[0][1] < 400
    assert all(bottom <= 900 for *_, bottom in texts)
    assert cards[0][2] - cards[0][0] > cards[1][2] - cards[1][0]
    assert page.page.evaluate("document.documentElement.scrollHeight") <= 901, "the page itself does not scroll"
    name = page.page.locator(".gac-card >> nth=1 >> h3 bdi")
    assert (name.text_content(), name.get_attribute("title")) == ("Qwen2.5 0.5B", NAMES[0])
    assert name.evaluate("bdi => [...bdi.children].every((part) => part.scrollWidth <= part.clientWidth)")


def test_lines_are_read_with_ease_and_the_inspector_is_beside(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(PlantedEnsemble(pieces=LONG)), viewport={"width": 1920, "height": 1000})
    page.ask("hello")
    assert all(right - left < 700 for left, _, right, _ in boxes(page, ".gac-text"))
    [text, sentence] = boxes(page, ".gac-ensemble :is(.gac-text, .gac-outcome)")
    assert text[0] == sentence[0], "they begin at one edge"
    page.page.set_viewport_size({"width": 1280, "height": 900})
    page.page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    before = boxes(page, ".gac-card")

    def inspector(stream: int = 0) -> list[float]:
        assert not page.page.is_visible(".gac-inspector")
        page.click_token(1, stream, then=".gac-inspector .gac-bars")
        return boxes(page, ".gac-inspector")[0]

    for index in range(3):
        assert not overlap(inspector(index), before[index])
        assert boxes(page, ".gac-card") == before
        page.page.keyboard.press("Escape")


def test_answers_are_as_tall_as_their_text_on_a_phone(serve: Server, open_page: Opener) -> None:
    site = serve(PlantedEnsemble(pieces=("One", " thing", ""), alone=("Quite", " another", "")))
    page = open_page(site, viewport={"width": 390, "height": 844}, has_touch=True)
    page.ask("hello " * 20)
    cards = boxes(page, ".gac-card")
    assert len({left for left, *_ in cards}) == 1
    assert all(bottom - top < 180 for _, top, _, bottom in cards[1:]), "two words need no box of half a screen"
    assert all(bottom - top < 90 for _, top, _, bottom in boxes(page, ".gac-body")), "nor is any kept"
    assert all(above[3] <= below[1] for above, below in pairwise(cards)), "all of a card stands above the next"
    assert all(right <= 390 for _, _, right, _ in boxes(page, ".gac-vote")), "votes wrap"
    [(_, top, _, bottom)] = boxes(page, ".gac-asked h2")
    page.page.tap(".gac-asked h2")
    assert boxes(page, ".gac-asked h2")[0][3] - top > 2 * (bottom - top), "the whole prompt, once it is tapped"
    page.page.tap(".gac-details summary")
    assert overlaps([box for part in (".gac-card", ".gac-votes") for box in boxes(page, part)]) == []
    small = """() => [...document.querySelectorAll('button, summary, [role=tab], .gac-segments label')]
      .filter((e) => e.checkVisibility({ visibilityProperty: true }))
      .filter((e) => !e.matches('.gac-term, .gac-fork, .visually-hidden *'))
      .filter((e) => e.closest('.gac-board, #gac-dock, #gac-tabs'))
      .map((e) => [e.innerText, e.getBoundingClientRect().height]).filter(([, height]) => height < 40)"""
    assert page.page.evaluate(small) == []


def test_a_second_click_on_run_has_no_effect(serve: Server, open_page: Opener) -> None:
    site = serve(PlantedEnsemble(pieces=LONG, pause_s=0.1))
    page = open_page(site, viewport={"width": 390, "height": 844})
    click_twice(page)
    page.page.set_viewport_size({"width": 1280, "height": 900})
    page.page.goto(site.url)
    wait_for_start(page.page)
    click_twice(page)


def click_twice(page: Watched) -> None:
    page.page.wait_for_selector(".gac-chips li", state="attached")
    docked = "Math.abs(document.querySelector('#gac-dock').getBoundingClientRect().bottom - innerHeight) < 1"
    page.page.wait_for_function(docked)
    page.page.fill("#gac-prompt textarea", "hello")
    left, top, right, bottom = boxes(page, "#gac-prompt .submit-button")[0]
    at, prompt = ((left + right) / 2, (top + bottom) / 2), boxes(page, "#gac-prompt")[0]
    page.page.mouse.dblclick(*at)
    page.page.wait_for_selector("body.gac-is-live")
    assert boxes(page, "#gac-prompt")[0] == pytest.approx(prompt, abs=1), "the prompt stays where it was"
    page.wait_for_tokens(8)  # 0.8 s: by then a click is meant
    assert page.page.locator("body.gac-is-live").count() == 1
    page.page.mouse.click(*at)
    page.page.wait_for_selector("body:not(.gac-is-live)")


CAN_BE_CLICKED = """() => [...document.querySelectorAll(
    'button, a[href], input, select, textarea, summary, [tabindex="0"]')]
  .filter((part) => !part.disabled && !part.matches('.gac-skip, .visually-hidden *'))
  .filter((part) => part.checkVisibility({ visibilityProperty: true })).map((part) => part.outerHTML.slice(0, 90))"""


def test_the_prompt_stays_at_hand_and_a_stopped_answer_goes_on(serve: Server, open_page: Opener) -> None:
    ensemble, text = PlantedEnsemble(pieces=LONG, pause_s=0.1), ".gac-ensemble .gac-text"
    page = open_page(serve(ensemble))
    page.page.wait_for_selector("#gac-prompt textarea")
    page.page.wait_for_selector(".gac-empty")
    assert boxes(page, "#gac-dock")[0][3] == pytest.approx(900, abs=1)
    page.ask("hello", and_wait=False)
    assert page.page.evaluate("document.activeElement.matches('#gac-prompt textarea')")
    page.page.wait_for_selector(".gac-hint:text('Enter stops this run')")
    *_, bottom = boxes(page, "#gac-dock")[0]
    assert bottom <= 900 < bottom + 30
    page.page.keyboard.press("Enter")
    page.wait_for_tokens(8)
    assert page.page.locator("body.gac-is-live").count() == 1, "nothing typed stops nothing"
    page.page.keyboard.type("next")
    page.press("Enter", then=".gac-asked h2:text-is('next')")
    page.wait_for_tokens(8)  # a click that comes sooner is taken for a double click
    page.page.click(".stop-button")
    page.wait_for_end()
    assert page.text(".gac-hint") == ""
    kept, top = page.text(text), boxes(page, ".gac-answers")[0][1]
    ensemble.pause_s = 0.0
    page.click(".gac-ensemble .gac-card-note button:text-is('Continue')", then=".gac-versions:has-text('2/2')")
    assert page.text(text).startswith(kept), "no word is taken away"
    page.wait_for_end()
    assert len(page.text(text)) > len(kept)
    assert page.page.text_content(".gac-proof") == "", "its digest is not the whole answer's"
    assert boxes(page, ".gac-answers")[0][1] == top, "what is said of a version has its line"
    page.click("role=button[name='Older version']", then=".gac-versions:has-text('1/2')")
    assert page.text(text) == kept
    assert page.page.locator(".gac-turns li").count() == 1, "a version is no earlier turn"
    for width in page.at_widths(390, 1280, 1920):
        assert len(clickable := page.page.evaluate(CAN_BE_CLICKED)) <= 33, (width, clickable)


def test_figures_plot_and_digest_fold_behind_details(serve: Server, open_page: Opener) -> None:
    ensemble = PlantedEnsemble(pieces=LONG[:9], alone=LONG[:60], pause_s=0.02)
    page = open_page(serve(ensemble))
    page.page.evaluate("document.querySelector('[name=gac-set-gate][value=Large]').click()")
    page.page.wait_for_selector("#gac-summary:has-text('gate Large')")
    page.ask("hello")
    details, summary = boxes(page, ".gac-details")[0], boxes(page, ".gac-details summary")[0]
    assert details[3] >= summary[3] > summary[1], "in sight on the card"
    parts = [".gac-plot", ".gac-figures", ".gac-proof"]
    assert [boxes(page, part) for part in parts] == [[], [], []]
    page.page.click(".gac-details summary")
    page.page.wait_for_selector(".gac-figures dt:has-text('time per token in this run')")  # a member ended last
    cost = page.page.locator(".gac-figures dd").last.inner_text()
    assert cost == "7.4 × Small alone; 7.4 × Large alone"  # 59 to 8 tokens
    assert page.text(".gac-outcome").endswith(" A token took 7.4 times as long as with Large alone."), "the gate"
    assert [len(boxes(page, part)) for part in parts] == [1, 1, 1]
    assert page.text(".gac-plot figcaption").endswith("asks below 50 %")


def test_tips_figures_and_one_answer_of_a_branch_anew(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(PlantedEnsemble(pieces=(*ANSWER[:-1], " Yes", ".", ""))))
    page.ask("hello")
    page.page.mouse.move(*page.place_of(1))
    tip = "#gac-tip:text-is('Token {}')"
    page.page.wait_for_selector(tip.format("2: probability 60 % · gate only 40 % sure · carried by Small"))
    page.page.mouse.move(5, 5)
    page.page.wait_for_selector("#gac-tip", state="hidden")
    page.page.focus(".gac-ensemble .gac-text")
    page.page.wait_for_selector(tip.format("1: probability 60 % · Small alone"))
    page.page.click(".gac-details summary")
    page.page.hover(".gac-ensemble [data-term=gate] >> nth=0")
    page.page.wait_for_selector("#gac-tip:has-text('one member that writes alone')")
    figures = page.page.locator(".gac-figures div")
    told = figures.all_inner_texts()
    assert told[:2] == ["forward passes\n9 Small + 3 Large", "computing time\n2.3 s Small + 0.8 s Large"]
    labels = ["first token, in this run", "ensembled", "time per token in this run, all answers at once"]
    assert [text.split("\n")[0] for text in told[2:]] == labels
    page.click_token(1)
    page.page.locator(".gac-branch").first.click()
    page.page.wait_for_selector(".gac-of-branch:has-text('Branched at token 2')")
    page.wait_for_end()
    assert len(figures.all_inner_texts()) == 3, "what was replayed took no time"
    address = page.page.url
    page.click(".gac-card >> nth=1 >> summary", ".gac-card >> nth=1 >> text=Regenerate")
    page.page.wait_for_function("address => location.href !== address", arg=address)
    page.wait_for_end()
    assert "Branched at token 2" in page.text(".gac-of-branch")
    assert page.painted("gac-forced") == ["Paris instead"] * 3
    assert len(figures.all_inner_texts()) == 3
