"""Every script looks as its readers expect, in every view, however models cut it into tokens."""

from __future__ import annotations

import random
from typing import Any

import pytest

from gac_app.decoding.loop.text import TextStream
from gac_app.decoding.trace.events import Event, FinishReason, StepTrace
from tests.browser.conftest import Opener, Server, Watched
from tests.ui.planted import PlantedEnsemble, PlantedSession
from tests.ui.steps import member, step

pytestmark = pytest.mark.browser

VIEWS = ("changes", "confidence")

# What a copy of the whole answer gives, and what stands there.
SHOWN = """() => {
  const text = document.querySelector('.gac-ensemble .gac-text'), selection = getSelection();
  selection.selectAllChildren(text);
  const copied = String(selection);
  selection.removeAllRanges();
  return [copied, text.textContent, text.querySelectorAll('p :not(.gac-end)').length];
}"""

# Where each character stands, in the answer and in paragraphs of the same text without marks, font and width.
PLACES = """() => {
  const text = document.querySelector('.gac-ensemble .gac-text'), plain = text.cloneNode(true);
  text.after(plain);
  const places = (root) => {
    const origin = root.getBoundingClientRect(), found = [], range = document.createRange();
    for (const { firstChild } of root.querySelectorAll('p')) for (let i = 0; i < firstChild.length; i += 1) {
      range.setStart(firstChild, i);
      range.setEnd(firstChild, i + 1);
      const rect = range.getBoundingClientRect();
      found.push([rect.left - origin.left, rect.top - origin.top, rect.width].map(Math.round).join(' '));
    }
    return found;
  };
  const result = [places(text), places(plain)];
  plain.remove();
  return result;
}"""

# Where the first character of each line stands.
DIRECTIONS = """() => {
  const node = document.querySelector('.gac-ensemble .gac-text p').firstChild, range = document.createRange();
  const { left, width } = node.parentElement.getBoundingClientRect();
  return [...node.data.matchAll(/^./gmu)].map(({ index }) => {
    range.setStart(node, index);
    range.setEnd(node, index + 1);
    return range.getBoundingClientRect().left < left + width / 2 ? 'ltr' : 'rtl';
  });
}"""

MARKS = """() => {
  const { marks, count } = document.querySelector('.gac-ensemble .gac-text').tokens;
  const clusters = new Intl.Segmenter(undefined, { granularity: 'grapheme' }).segment(marks.text);
  const bounds = new Set([...clusters].map((cluster) => cluster.index));
  const shown = marks.all.filter((mark) => !mark.isEnd);
  const textOf = (mark) => marks.text.slice(mark.start, mark.end);
  return {
    split: shown.filter((mark) => !bounds.has(mark.start)).map(textOf),
    unmarked: [...Array(count).keys()].filter((index) => !marks.byToken[index]),
    joined: shown.map(textOf).join(''),
    ends: marks.all.filter((mark) => mark.isEnd).length,
  };
}"""


def test_every_script_is_shown_as_it_is_written(serve: Server, open_page: Opener) -> None:
    """In every view; a character of several tokens is one mark; each line reads in its own direction."""
    ensemble = BytesEnsemble([])
    page = open_page(serve(ensemble))
    for seed, max_bytes in ((1, 5), (2, 3)):
        ensemble.tokens = cut_anywhere(ALL_SCRIPTS, seed, max_bytes)
        page.ask(f"say it in every script, cut {seed}")
        for view in VIEWS:
            page.page.check(f".gac-views input[value={view}]", force=True)
            assert page.page.evaluate(SHOWN) == [ALL_SCRIPTS, ALL_SCRIPTS.replace("\n\n", ""), 0], view
            shown, plain = page.page.evaluate(PLACES)
            assert shown == plain, view
        assert page.page.evaluate(MARKS) == {"split": [], "unmarked": [], "joined": ALL_SCRIPTS, "ends": 1}
    expected = ["rtl" if name in ("Arabic", "Hebrew") else "ltr" for name in SCRIPTS]
    assert page.page.evaluate(DIRECTIONS) == expected


def test_what_ends_a_turn_is_one_mark_and_no_text(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(PlantedEnsemble(pieces=("Done", ".", "", "", ""))))
    page.ask("end")
    assert page.page.evaluate(SHOWN)[:2] == ["Done.", "Done."]
    assert page.page.locator(".gac-ensemble .gac-end").count() == 1
    page.click(".gac-ensemble .gac-end", then=".gac-part >> nth=2")


def test_marks_are_painted_as_the_view_says(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(PlantedEnsemble(alone=("Paris", " was", ""))))
    page.ask("hello")
    painted = [page.painted(f"gac-{kind}") for kind in ("asked", "changed", "doubt")]
    assert painted == [["is", "\n"], ["capital"], []]
    assert page.page.locator(".gac-subline > .gac-fork:text('differs from the ensemble')").count() == 2
    assert page.page.locator(".gac-overlay > .gac-fork").count() == 2
    page.page.check(".gac-views input[value=confidence]", force=True)
    painted_anew = sorted(page.painted("gac-doubt-2"))  # 60 % each; in the order in which cards are drawn
    assert painted_anew == ["Paris is the\n capital.", "Paris was", "Paris was"]


SMALL, LARGE = member("Small", 0.6, {b"\xe6\x97": 0.6}, weight=0.75), member("Large", 0.5, weight=0.25, num_read=0)
STEPS = [
    step(0, b"\xe6\x97", {"Large": ()}, members=(SMALL, LARGE), is_partial=True, top={b"x": 0.2}),
    step(1, b"\xa5", {"Large": ()}, members=(SMALL, LARGE), is_partial=True),
    step(2, "本".encode(), {"Large": ("日本".encode(),)}, members=(SMALL, LARGE)),
]


class CutDifferently(PlantedEnsemble):
    """The ensemble writes 日本 in the three pieces of one member; the members alone write it whole."""

    def __init__(self) -> None:
        super().__init__(pieces=("", "日", "本"), alone=("日本", ""))

    def session(self, settings: Any, alone: str | None, branch: Any) -> PlantedSession:
        if alone:
            return super().session(settings, alone, branch)
        return CutSession(self, list(self.pieces), settings, None, -1)


class CutSession(PlantedSession):
    def _step(self, position: int, piece: str) -> StepTrace:
        return STEPS[position]


def inspect(page: Watched, index: int) -> str:
    page.click_token(index)
    part = page.page.locator(f".gac-part:text-is('{index + 1}')")
    page.page.wait_for_selector(".gac-inspector:not([hidden])")
    if part.count():
        part.click()
    page.page.wait_for_selector(f".gac-inspector h3:text-is('Token {index + 1}')")
    return page.text(".gac-inspector").replace("\n", " ")


def test_partial_tokens_are_explained(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(CutDifferently()))
    page.ask("hello")
    assert page.painted("gac-asked") == ["日本"]

    first = inspect(page, 0)
    assert "part of the character 日" in first
    assert "some member writes more than this as one token" in first
    assert "is inside a longer token of its own, 日本, which is complete at token 3" in first
    assert "needed no forward pass" in first
    assert page.page.locator(".gac-inspector .is-chosen .gac-tick").count() == 3  # in every list, in no top-k
    bars = page.page.eval_on_selector_all(".gac-weights i", "bars => bars.map(bar => bar.style.width)")
    assert bars == ["75%", "25%"]
    assert "reads tokens 1 to 3 again, together: 日本" in inspect(page, 2)


SCRIPTS = {
    "Latin": "Où est passée la façade naïve? Größe, Åse, Łódź, ﬁn; e\u0301te\u0301 stays whole.",
    "Cyrillic": "Столица Австралии — Канберра, её выбрали в 1908 году. Й и\u0306 ё.",
    "Greek": "Ἡ πρωτεύουσα τῆς Αὐστραλίας εἶναι ἡ Καμπέρα.",
    "Arabic": "عاصمة أستراليا هي كانبيرا، واختيرت عام 1908. السَّلامُ عَلَيْكُمْ.",
    "Hebrew": "בירת אוסטרליה היא קנברה, והיא נבחרה ב-1908. שָׁלוֹם עֲלֵיכֶם.",
    "Devanagari": "ऑस्ट्रेलिया की राजधानी कैनबरा है, जिसे क्षेत्र में चुना गया।",
    "Thai": "เมืองหลวงของออสเตรเลียคือแคนเบอร์รา ซึ่งได้รับเลือกที่นี่",
    "Chinese": "澳大利亚的首都是堪培拉，于1908年选定。𠮷野家。",
    "Japanese": "オーストラリアの首都はキャンベラです。か\u3099ん、東京。",
    "Korean": "호주의 수도는 캔버라이며 1908년에 정해졌다. \u1112\u1161\u11ab글.",
    "Emoji": "Family 👩‍👩‍👧‍👦, flags 🇦🇺🇯🇵, skin 👍🏽, heart ❤️‍🔥, key 1️⃣.",
}
ALL_SCRIPTS = "\n".join(SCRIPTS.values()) + "\n\nEnd."


def cut_anywhere(text: str, seed: int = 1, max_bytes: int = 5) -> list[bytes]:
    """Tokens of 1 to `max_bytes` bytes, then END."""
    data, rng, tokens = text.encode(), random.Random(seed), []
    while data:
        size = rng.randint(1, max_bytes)
        tokens.append(data[:size])
        data = data[size:]
    return [*tokens, b""]


class BytesEnsemble(PlantedEnsemble):
    """Every stream says the tokens given; every third one of the ensemble's is gated, and carried in turn."""

    def __init__(self, tokens: list[bytes], stop: tuple[str, ...] = ()) -> None:
        super().__init__(pieces=())
        self.tokens, self.stop = tokens, stop

    def session(self, settings: Any, alone: str | None, branch: Any) -> PlantedSession:
        return BytesSession(self, [], settings, alone, -1)


class BytesSession(PlantedSession):
    _ensemble: BytesEnsemble

    def events(self) -> Any:
        stream, count = TextStream(self._ensemble.stop), 0
        for position, token in enumerate(self._ensemble.tokens):
            count += 1
            stream.take(token, is_last=not token)
            yield from stream.show(self._bytes_step(position, token))
            if stream.is_stopped:
                break
        released: list[Event] = [*stream.release()]
        yield from released
        yield self._end(FinishReason.STOP, stream.text, count)

    def _bytes_step(self, position: int, token: bytes) -> StepTrace:
        if self._alone or position % 3:
            return step(position, token, members=step(0, b"").members[:1])
        return step(position, token)
