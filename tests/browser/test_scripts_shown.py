"""Every script looks as its readers expect, in every view, however models cut it into tokens."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Opener, Server
from tests.ui.planted import PlantedEnsemble
from tests.ui.scripts import ALL_SCRIPTS, SCRIPTS, BytesEnsemble, cut_anywhere

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
    page.page.click(".gac-ensemble .gac-end")
    page.page.wait_for_selector(".gac-part >> nth=2")


def test_marks_are_painted_as_the_view_says(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(PlantedEnsemble(alone=("Paris", " was", ""))))
    page.ask("hello")
    assert (page.painted("gac-asked"), page.painted("gac-changed"), page.painted("gac-doubt")) == (
        ["is", "\n"],
        ["capital"],
        [],
    )
    assert page.page.locator(".gac-subline > .gac-fork:text('differs from the ensemble')").count() == 2
    assert page.page.locator(".gac-overlay > .gac-fork").count() == 2
    page.page.check(".gac-views input[value=confidence]", force=True)
    assert page.painted("gac-doubt-2") == ["Paris is the\n capital.", "Paris was", "Paris was"]  # 60 % each
