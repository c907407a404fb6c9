"""Whether it helped, in one sentence above the answer, and which words were changed."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest

from tests.browser.conftest import Opener, Server
from tests.browser.test_arrangement import boxes
from tests.ui.planted import PlantedEnsemble

pytestmark = pytest.mark.browser

TEXT = ("Paris", " is", " the", "\n", " capital", " of", " France", ".", "")


def test_a_sentence_says_what_was_changed_and_where(serve: Server, open_page: Opener) -> None:
    """Nothing moves when it comes. Its words are the marks' and the tip's."""
    page = open_page(serve(PlantedEnsemble(pieces=TEXT, pause_s=0.02)))
    for width in page.at_widths(1280, 1920, 390):
        page.ask(f"hello {width}", and_wait=False)
        page.wait_for_tokens(2)
        before = boxes(page, ".gac-ensemble .gac-body")[0]
        page.wait_for_end()
        page.page.wait_for_selector(".gac-outcome:text-matches('^Large changed 1 of 6 words\\\\.')")
        assert boxes(page, ".gac-ensemble .gac-body")[0][:3] == before[:3]
        assert (page.painted("gac-changed"), page.painted("gac-asked")) == (["capital"], ["is", "\n"])
        page.page.mouse.move(*page.place_of(4))
        page.page.wait_for_selector("#gac-tip:text-is('Small: “instead” → together: “capital”')")
        page.leave_fields()
        page.press("n", then=".gac-inspector h3:text-is('Token 5')")
        assert "Small: “instead” → together: “capital”" in page.text(".gac-inspector")
        page.page.keyboard.press("Escape")
        assert page.page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_next_change_is_one_of_the_first_answer(serve: Server, open_page: Opener) -> None:
    ensemble = PlantedEnsemble(pieces=TEXT)
    page = open_page(serve(ensemble))
    page.ask("hello")
    assert page.page.is_enabled(".gac-next")
    ensemble.pieces = ("Paris", "")  # nothing is changed
    page.choose("Compare settings")
    page.click(".gac-others button:has-text('As in the paper')", then=".gac-card h3:has-text('paper alignment')")
    page.wait_for_end()
    assert page.page.is_disabled(".gac-next")


# The verdict, whole, and above the text.
HAS_ROOM = """() => {
  const [line, body] = ['.gac-subline', '.gac-body'].map((part) => document.querySelector(`.gac-ensemble ${part}`));
  return line.scrollHeight <= line.clientHeight + 1
    && line.getBoundingClientRect().bottom <= body.getBoundingClientRect().top + 1; }"""


def test_the_sentence_has_its_room_beside_four_members(serve: Server, open_page: Opener) -> None:
    names = tuple(f"Member-{number}-0.5B-Instruct" for number in range(4))
    page = open_page(serve(PlantedEnsemble(pieces=TEXT), members=names))
    page.ask("hello")
    page.page.wait_for_selector(".gac-outcome:text-matches('^The others changed 1 of 6 words\\.')")
    for width in page.at_widths(1280, 1000, 1920):
        assert page.page.evaluate(HAS_ROOM), width


class OneLoops(PlantedEnsemble):
    """The gate alone repeats itself; all others come to their end."""

    def session(self, settings: Any, alone: str | None, branch: Any) -> Any:
        pieces = (" over", " and", " over") * 10 if alone == QWEN else TEXT
        return PlantedEnsemble(TEXT, pieces).session(settings, alone, branch)


QWEN, SMOL = "Qwen2.5-Coder-0.5B-Instruct", "SmolLM2-135M-Instruct"
NUM_LINES = """() => { const line = document.querySelector('.gac-outcome');
  return Math.round(line.offsetHeight / parseFloat(getComputedStyle(line).lineHeight)); }"""


def test_a_member_that_loops_alone_is_in_two_lines(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(OneLoops(), members=(QWEN, SMOL)))
    page.page.set_viewport_size({"width": 390, "height": 900})
    page.ask("hello")
    told = "SmolLM2 changed 1 of 6 words. Alone, Qwen2.5 repeats itself. A token took 3.6 times as long."
    page.page.wait_for_selector(f".gac-outcome:text-is('{told}')")
    longer = told.replace("1 of 6", "2 of 23")
    page.page.eval_on_selector(".gac-outcome", "(line, told) => { line.textContent = told; }", longer)
    assert page.page.evaluate(NUM_LINES) == 2
    assert page.page.evaluate(HAS_ROOM)
    names = """names => { const { briefName, tellNames } = gac['page/elements'], told = names.map(briefName);
      tellNames(['Qwen2.5-1.5B']);
      return [told, names.map(briefName)]; }"""
    rest = ["SmolLM2", "Meta Llama 3"]
    brief = [["Qwen2.5", *rest], ["Qwen2.5 Coder 0.5B", *rest]]
    assert page.page.evaluate(names, [QWEN, SMOL, "Meta-Llama-3-8B"]) == brief


def slow_repetition(texts: list[str]) -> list[Any]:
    """From which token on at least 24 tokens, and three parts, equal those before; whether it goes on so to the end."""
    for end in range(len(texts) + 1):
        for n in range(1, 97):
            start = end - max(24, 3 * n)
            if start >= n and texts[start:end] == texts[start - n : end - n]:
                return [start, texts[end:] == texts[end - n : len(texts) - n]]
    return [None, False]


def test_a_repetition_is_found_and_whether_it_goes_on(serve: Server, open_page: Opener) -> None:
    draw = random.Random(3)
    answers = [
        draw.choices("ab", k=draw.randint(0, 5))
        + draw.choices("abc", k=draw.randint(1, 12)) * draw.randint(1, 12)
        + draw.choice(([], ["!"]))
        for _ in range(300)
    ]
    told = open_page(serve()).page.evaluate(
        f"""{json.dumps(answers)}.map(texts => {{ const found = new gac['answer/stream'].Repetition();
        for (const one of texts) found.add(one); return [found.from, found.goesOn]; }})"""
    )
    assert told == [slow_repetition(texts) for texts in answers]
    assert len({json.dumps([start is None, goes_on]) for start, goes_on in told}) == 3


def random_figures(draw: random.Random) -> dict[str, Any]:
    asked, words = draw.choice((0, 1, 28)), draw.randint(0, 51)
    changed = draw.randint(0, asked)
    ratio = round(draw.choice((draw.uniform(0.5, 1.2), draw.uniform(1, 9))), 3)
    figures = {"asked": asked, "changed": changed, "isKnown": not asked or draw.random() < 0.8, "words": words}
    figures |= {"changedWords": draw.randint(0, min(changed, words)), "gate": "Qwen", "isGates": draw.random() < 0.8}
    figures |= {"mode": draw.choice(("gate", "every-step", "agreement")), "ending": draw.choice(ENDINGS)}
    figures |= {"others": draw.choice((["SmolLM2"], ["SmolLM2", "Gemma"]))}
    figures |= {"cost": draw.choice((None, {"ratio": ratio, "name": "Qwen"}))}
    alone = draw.choice(([], ["Qwen", "SmolLM2"]))
    return {**figures, "alone": [{"name": name, "ending": draw.choice(ENDINGS)} for name in alone]}


ENDINGS = ("end", "repeats", "cut", "")
SIDES = re.compile(
    r" (?:(This|Alone, [\w ]+?) (repeats? |reached )[\w ]+(?:; alone, (\w+) comes to an end)?\.)(?= A token|$)"
)


def is_true_of_endings(told: re.Match[str] | None, of: dict[str, Any]) -> bool:
    """Whether it tells which side came to no end, where the other did; nothing else."""
    alone = {one["name"]: one["ending"] for one in of["alone"]}
    ended = [name for name, ending in alone.items() if ending == "end"]
    looping = [name for name, ending in alone.items() if ending == "repeats"]
    failing = looping or [name for name, ending in alone.items() if ending == "cut"]
    if of["ending"] != "end":
        side = "This" if of["ending"] and ended else None
        return told is None if side is None else bool(told) and told.groups() == (
            "This", "repeats " if of["ending"] == "repeats" else "reached ", ended[0])  # fmt: skip
    if not failing:
        return told is None
    who = f"Alone, {failing[0]}" if len(failing) == 1 else f"Alone, {len(failing)} members"
    verb = "reached " if not looping else "repeats " if len(failing) == 1 else "repeat "
    return bool(told) and told.groups() == (who, verb, None)


def is_cost(told: str | None, ratio: float | None) -> bool:
    """Whether "1.6 times", "about" or "10 %" (less) says so of a ratio."""
    if told is None or ratio is None:
        return told is ratio
    if told == "about":
        return 0.95 <= ratio < 1.05
    found = float(told.split()[0])
    return abs(found - ratio) <= 0.051 if "times" in told else abs(found / 100 - (1 - ratio)) <= 0.0051


def is_true(told: str, of: dict[str, Any]) -> bool:
    """Whether a sentence says no more than its figures, and all of what counts."""
    sides = SIDES.search(told := f" {told}")
    if not is_true_of_endings(sides, of):
        return False
    if sides:
        told = told[: sides.start()] + told[sides.end() :]
    cost = re.search(r" A token took ([\w.% ]+?) (?:as long|less time)( (?:as|than) with Qwen alone)?\.$", told)
    if cost and not cost[2] and not (sides and "Qwen" in sides[0]):
        return False
    if not is_cost(cost and cost[1], of["cost"] and of["cost"]["ratio"]):
        return False
    what = (told[: cost.start()] if cost else told).strip()
    who = "SmolLM2" if len(of["others"]) == 1 else "The others"
    if not of["asked"]:
        never = f"Qwen wrote this alone and never asked {who.replace('The', 'the')}." if of["isGates"] else ""
        return what == ("All members wanted the same tokens." if of["mode"] == "agreement" else never)
    if not of["isKnown"]:
        return bool(re.match(rf"{of['asked']} tokens? (was|were) decided together\.$", what))
    if not of["changed"]:
        return bool(re.search(rf" {of['asked']} times?\b.* nothing\.$", what))
    if of["changedWords"]:
        return bool(re.match(rf"{who} changed {of['changedWords']} of {of['words']} words?\.$", what))
    return bool(re.match(rf"{who} changed {of['changed']} tokens? and no word\.$", what))


def test_every_sentence_is_true_of_its_figures(serve: Server, open_page: Opener) -> None:
    draw = random.Random(1)
    figures = [random_figures(draw) for _ in range(500)]
    page = open_page(serve())
    told = page.page.evaluate(f"{json.dumps(figures)}.map(one => gac['answer/verdict'].runVerdict(one))")
    assert [(one, of) for one, of in zip(told, figures, strict=True) if not is_true(one, of)] == []
    assert len({re.sub(r"[\d.]+|SmolLM2|[Tt]he others", "", one) for one in told}) > 12


def compared(draw: random.Random) -> dict[str, Any]:
    n = draw.choice((4, 6, 40, 3000))
    wins = draw.randint(0, n)
    losses = draw.choice((0, draw.randint(0, n - wins)))
    counts = {"wins": wins, "losses": losses, "n": n, "tried": draw.choice((1, 10))}
    return {"rival": "Qwen", "what": f"{n} votes", **counts}


def test_no_more_is_said_of_a_comparison_than_its_votes_show(serve: Server, open_page: Opener) -> None:
    """By the same exact test of another library, corrected for the best of several."""
    from scipy.stats import binomtest

    draw = random.Random(2)
    figures = [compared(draw) for _ in range(300)]
    page = open_page(serve())
    told = page.page.evaluate(f"{json.dumps(figures)}.map(one => gac['answer/verdict'].comparedVerdict(one))")

    def is_shown(wins: int, losses: int, tried: int) -> bool:
        return bool(wins + losses) and binomtest(wins, wins + losses).pvalue * tried < 0.05

    for sentence, of in zip(told, figures, strict=True):
        wins, losses, n, tried = of["wins"], of["losses"], of["n"], of["tried"]
        if is_shown(wins, losses, tried):
            order = "Better" if wins > losses else "Worse"
            assert sentence == f"{order} than Qwen here: {wins:,} to {losses:,} where the two differ."
            continue
        least = next(net for net in range(1, 20) if is_shown(net, 0, tried))  # no smaller difference can be shown
        what = f"a difference below {-(-100 * least // n)} points" if least <= n else "any difference"
        assert sentence == f"No better than Qwen here; {n} votes cannot tell {what}."
    intervals = [{"name": "It", "low": low, "high": low + 10} for low in (0, 5, 20)]
    rival = json.dumps({"name": "Qwen", "low": 12, "high": 18})
    rated = page.page.evaluate(f"{json.dumps(intervals)}.map(one => gac['answer/verdict'].ratedVerdict(one, {rival}))")
    assert rated == [
        "It is worse than Qwen: their intervals are apart.",
        "It is no better than Qwen so far: their intervals overlap.",
        "It is better than Qwen: their intervals are apart.",
    ]
