"""Answers are shown as their Markdown is meant, with the tokens' marks on them, and no more than text and boxes:
nothing runs, nothing loads, the layout holds.
"""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.browser.conftest import Opener, Server
from tests.browser.test_axe import all_findings, with_axe
from tests.ui.planted import PlantedEnsemble

pytestmark = pytest.mark.browser

MARKDOWN = """# Guitars

Play **slowly**, then *faster* &amp; \\*.

### Chords
1. C
2. G

| chord | frets | |
|---|---:|--|
| C | | 3 |

```python
print("C")  # <b>not bold</b>
```

See [the page](https://evil.example/) and ![a cat](https://evil.example/cat.png), [0] of `x`.
"""
PARTS = [
    "# ", "## ", "a", "word ", " ", "  ", "    ", "\n", "\n\n", "- ", "1. ", "2)", "> ", "`", "```", "```py\n", "~~~",
    "**", "*", "_", "~~", "| a | b |\n|--|:-:|\n", "| ", "|", "[", "](", ")", "![", "<b>", "</b>", "<https://x.y>",
    "&lt;", "\\", "\\*", "---", "===", "\t", "\r\n", "é", "👩\u200d👧", "שלום ", ":", "+ ", "<!-- ", "[a]: b\n",
]  # fmt: skip

# What is wrong with how answers are shown, each written by the parts that it is given in.
WRONG = """(answers) => {
  const { AnswerText } = window.gac["answer/text"], root = () => document.createElement("div");
  const look = ({ root, pieces }) => root.outerHTML + JSON.stringify(pieces.map(({ at, end }) => [at, end]));
  const wrongWith = (parts) => {
    const text = parts.join(""), whole = new AnswerText(root()), slow = new AnswerText(root()), wrong = [];
    whole.append(text, true);
    for (const part of parts) {
      const before = slow.pieces.map((piece) => ({ ...piece, data: piece.node.data })), from = slow.append(part);
      const isSame = ({ node, data }, at) => slow.pieces[at]?.node === node && node.data.startsWith(data);
      if (!before.filter(({ end }) => end <= from).every(isSame)) wrong.push("changed unsaid");
    }
    slow.append("", true);
    if (look(slow) !== look(whole)) wrong.push("other than at once");
    const walker = document.createTreeWalker(whole.root, NodeFilter.SHOW_TEXT), nodes = [], { pieces } = whole;
    while (walker.nextNode()) nodes.push(walker.currentNode);
    const copies = nodes.filter((node) => whole.byNode.has(node)), written = ({ at, end }) => text.slice(at, end);
    if (copies.some((node, at) => node !== pieces[at].node)) wrong.push("out of order");
    const isMade = (node) => !copies.includes(node) && !node.parentElement.closest(".gac-code-head");
    if (nodes.some(isMade)) wrong.push("made up");
    const isCopy = (piece) => [piece.node.data, piece.node.data.replace("<", "&lt;")].includes(written(piece));
    if (!pieces.every(isCopy)) wrong.push("no copy");
    if (pieces.some(({ at }, index) => at < (pieces[index - 1]?.end ?? 0))) wrong.push("twice");
    const words = (of) => of.replace(/[^\\p{L}]/gu, "");
    if (words(text) !== words(pieces.map(written).join(""))) wrong.push("lost");
    return wrong;
  };
  return answers.map((parts) => [parts.join(""), ...wrongWith(parts)]).filter(({ length }) => length > 1);
}"""

# Of each answer how many elements show it, and after how many milliseconds.
COSTS = """(answers) => answers.map((answer) => {
  const text = new window.gac["answer/text"].AnswerText(document.createElement("div")), began = performance.now();
  text.append(answer, true);
  while (text.isBehind) text.write();
  return [text.root.querySelectorAll("*").length, performance.now() - began];
})"""


def pieces_of(text: str) -> tuple[str, ...]:
    return tuple(text[at : at + 3] for at in range(0, len(text), 3))


def test_each_text_is_a_copy_of_its_place_in_the_answer(serve: Server, open_page: Opener) -> None:
    """Also while it is written: nothing changes that is said to be the same, and the end is as if written at once."""
    page = open_page(serve())

    @example([["&l", "t;"]])
    @given(st.lists(st.lists(st.sampled_from(PARTS), max_size=30), min_size=20, max_size=40))
    def law(answers: list[list[str]]) -> None:
        assert page.page.evaluate(WRONG, answers) == []

    law()


def test_markdown_is_rendered_and_code_can_be_copied(serve: Server, open_page: Opener) -> None:
    """The same, written live and opened again."""
    ensemble = PlantedEnsemble(pieces=(*pieces_of(MARKDOWN), ""), pause_s=0.004)
    page = open_page(serve(ensemble), permissions=["clipboard-read", "clipboard-write"])
    with_axe(page)
    page.ask("hello")
    shown = page.page.locator(".gac-ensemble .gac-text")
    assert shown.locator("h4").inner_text() == "Guitars"
    assert shown.locator("h5").inner_text() == "Chords"  # no rank is left out
    assert shown.locator("strong").inner_text() == "slowly"
    assert shown.locator("p").first.inner_text() == "Play slowly, then faster & *."
    assert shown.locator("ol > li").all_inner_texts() == ["C", "G"]
    assert shown.locator("td").all_inner_texts() == ["C", "", "3"]
    assert shown.locator("p").last.inner_text() == (
        "See the page(https://evil.example/) and ![a cat](https://evil.example/cat.png), [0] of x."
    )
    assert shown.locator(":is(a, img, b, script)").count() == 0
    assert shown.locator(".gac-code-head span").inner_text() == "python"
    shown.locator("role=button[name='Copy this code']").click()
    assert page.page.evaluate("navigator.clipboard.readText()") == 'print("C")  # <b>not bold</b>'
    shown.locator(".gac-code-head button:text-is('Copy')").wait_for()
    for width in page.at_widths(390, 1280):
        assert all_findings(page) == {}, width
        assert page.page.evaluate("document.documentElement.scrollWidth") <= width
    live = shown.inner_html()
    page.click("role=tab[name=History]", ".gac-run-open", then=".gac-asked h2:text-is('hello')")
    assert shown.inner_html() == live


def test_hostile_markdown_makes_no_element_that_acts(serve: Server, open_page: Opener) -> None:
    framed = "\n\n<iframe src=https://evil.example></iframe>\n\n"
    more = (framed, "[a](data:text/html,x)\n\n", "<https://evil.example/x>", "> " * 300)
    page = open_page(serve(PlantedEnsemble(pieces=(*HOSTILE, *more, ""))))
    page.ask("go on")
    shown = page.page.locator(".gac-ensemble .gac-text")
    assert shown.locator(":is(script, img, svg, a, iframe, style, form, input, object)").count() == 0
    assert "<script>alert(1)</script>" in shown.inner_text()
    assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    lists = "".join("  " * depth + "- x\n" for depth in range(200))
    table = "| a | b |\n|--|--|\n" + "| 1 | 2 |\n" * 5000
    huge = [table, lists, "> " * 5000, "1. " * 5000, "*a* " * 4000, "```x` " + "*a* " * 10_000, " " * 60_000 + "x"]
    for number, milliseconds in page.page.evaluate(COSTS, huge):
        assert number < 60, "as far as it goes, then as written"
        assert milliseconds < 2000, "it may be shared with others, who look at it"


HOSTILE: tuple[str, ...] = ("<script>alert(1)</script>", "<img src=x onerror=alert(2)>", "${alert(3)}", "{{alert(4)}}")
HOSTILE += (" ![pixel](https://evil.example/pixel.png)", " [link](javascript:alert(5))")
HOSTILE += ("\\\\u003cscript\\u003e `${1}`", "'\"><svg onload=alert(6)>")

SPLIT = ("<scr", "ipt>al", "ert(1)</", "script>", "<im", "g src=x onerror=alert(2)>")
FLOOD = ("مرحبا", " بالعالم", "\u202e dlrow", "\n", "z" + "\u0301" * 400, "x" * 3000)


def test_hostile_text_is_shown_as_text_and_keeps_the_layout(serve: Server, open_page: Opener) -> None:
    """Of members, also where a tag is split over tokens, and of the visitor, also in turns and History."""
    ensemble, prompt = PlantedEnsemble(), "<img src=x onerror=alert(1)> ${alert(2)}"
    page = open_page(serve(ensemble))
    for pieces in (HOSTILE, SPLIT, FLOOD):
        ensemble.pieces = ensemble.alone = pieces
        page.ask(prompt if pieces is HOSTILE else f"then {pieces[0]}")
        shown = page.page.evaluate("document.querySelector('.gac-ensemble .gac-text').textContent")
        as_meant = "".join(pieces).replace("[link](", "link(").replace("\\\\", "\\").replace("`", "")
        assert shown == as_meant
        assert page.page.locator(".gac-board :is(script, img, svg, a:not(.gac-skip))").count() == 0
        assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.text(".gac-status").startswith("Finished")
    assert page.page.locator(".gac-turn-prompt").first.inner_text() == prompt
    page.click("role=tab[name=History]", then=f".gac-run-prompt:text-is('{prompt}')")


# Where a line that reads from right to left ends.
BREAK_IS_LEFT = """() => {
  const range = document.createRange(), { firstChild: text } = document.querySelector('.gac-ensemble .gac-text p');
  range.setStart(text, 0);
  range.setEnd(text, 4);
  const { left } = range.getBoundingClientRect();
  const { right } = document.querySelector('.gac-ensemble .gac-break').getBoundingClientRect();
  return right <= left + 1 && right > left - 4; }"""


def test_tokens_without_text_can_be_seen_and_inspected(serve: Server, open_page: Opener) -> None:
    ensemble = PlantedEnsemble(pieces=("a", "\n", "b", " ", ""))
    page = open_page(serve(ensemble))
    page.ask("go on")
    mark = "getComputedStyle(document.querySelector('.gac-ensemble .gac-break'), '::before').content"
    assert page.page.evaluate(mark) == '"⏎"'
    page.click(".gac-ensemble .gac-break", then=".gac-chosen .gac-label:text-is('⏎')")
    page.click(".gac-ensemble .gac-end", then=".gac-chosen .is-end")
    assert page.text(".gac-chosen .gac-label") == "end"
    ensemble.pieces = ("שלום", "\n", "עולם", "")
    page.ask("from right to left")
    assert page.page.evaluate(BREAK_IS_LEFT)
