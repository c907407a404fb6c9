"""The Rendered view: Markdown as it is meant, and no more than text and boxes."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Opener, Server, Watched
from tests.browser.test_axe import all_findings, with_axe
from tests.browser.test_hostile_text import HOSTILE
from tests.ui.planted import PlantedEnsemble

pytestmark = pytest.mark.browser

MARKDOWN = """# Guitars

Play **slowly**, then *faster*.

### Chords
1. C
2. G

| chord | frets |
|---|---:|
| C | 3 |

```python
print("C")  # <b>not bold</b>
```

See [the page](https://evil.example/) and ![a cat](https://evil.example/cat.png).
"""


def pieces_of(text: str) -> tuple[str, ...]:
    return tuple(text[at : at + 3] for at in range(0, len(text), 3))


def show(page: Watched, view: str) -> None:
    page.page.check(f".gac-views input[value={view}]", force=True)


def test_markdown_is_rendered_and_code_can_be_copied(serve: Server, open_page: Opener) -> None:
    page = open_page(
        serve(PlantedEnsemble(pieces=(*pieces_of(MARKDOWN), ""))), permissions=["clipboard-read", "clipboard-write"]
    )
    page.ask("hello")
    show(page, "rendered")
    shown = page.page.locator(".gac-ensemble .gac-rendered")
    assert shown.locator("h4").inner_text() == "Guitars"
    assert shown.locator("h5").inner_text() == "Chords"  # no rank is left out
    assert shown.locator("strong").inner_text() == "slowly"
    assert shown.locator("ol > li").all_inner_texts() == ["C", "G"]
    assert shown.locator("td").all_inner_texts() == ["C", "3"]
    assert shown.locator("p").last.inner_text() == (
        "See the page (https://evil.example/) and [image: a cat] (https://evil.example/cat.png)."
    )
    assert shown.locator(":is(a, img, b, script)").count() == 0
    shown.locator("role=button[name='Copy this code']").click()
    assert page.page.evaluate("navigator.clipboard.readText()") == 'print("C")  # <b>not bold</b>\n'


def test_what_is_rendered_is_the_same_written_live_and_at_once(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(PlantedEnsemble(pieces=(*pieces_of(MARKDOWN), ""), pause_s=0.004)))
    page.ask("hello", and_wait=False)
    page.wait_for_tokens(2)
    show(page, "rendered")
    page.wait_for_end()
    shown = "document.querySelector('.gac-ensemble .gac-rendered').innerHTML"
    live = page.page.evaluate(shown)
    page.page.click("role=tab[name=History]")
    page.page.click(".gac-run-open")
    page.page.wait_for_selector(".gac-asked h2:text-is('hello')")
    show(page, "rendered")
    assert page.page.evaluate(shown) == live


def test_hostile_markdown_makes_no_element_that_acts(serve: Server, open_page: Opener) -> None:
    more = (
        "\n\n<iframe src=https://evil.example></iframe>\n\n",
        "[a](data:text/html,x)\n\n",
        "<https://evil.example/x>",
        "> " * 300,
    )
    page = open_page(serve(PlantedEnsemble(pieces=(*HOSTILE, *more, ""))))
    page.ask("go on")
    show(page, "rendered")
    shown = page.page.locator(".gac-ensemble .gac-rendered")
    assert shown.locator(":is(script, img, svg, a, iframe, style, form, input, object)").count() == 0
    assert "<script>alert(1)</script>" in shown.inner_text()
    assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_choosing_a_token_leaves_the_rendered_view(serve: Server, open_page: Opener) -> None:
    page = open_page(serve())
    page.ask("hello")
    show(page, "rendered")
    assert not page.page.locator(".gac-ensemble .gac-text").is_visible()
    page.leave_fields()
    page.page.keyboard.press("n")
    page.page.wait_for_selector(".gac-inspector h3:text-is('Token 2')")
    assert page.page.locator(".gac-views input:checked").get_attribute("value") == "gate"


def test_code_stays_in_its_own_block_between_tokens(serve: Server, open_page: Opener) -> None:
    lines = ["So:", "````", "```", "x = 1", "````", "Use ```a``` here.", "```b``` too", "~~~", "y", "~~~ ", "Done."]
    page = open_page(serve(PlantedEnsemble(pieces=(*pieces_of("\n".join(lines)), ""))))
    page.ask("hello")
    code = page.page.eval_on_selector_all(
        ".gac-ensemble .gac-line.is-code", "lines => lines.map((line) => line.textContent.trimEnd())"
    )
    assert code == ["````", "```", "x = 1", "````", "~~~", "y", "~~~"]


def test_the_rendered_view_fits_and_axe_is_content(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(PlantedEnsemble(pieces=(*pieces_of(MARKDOWN), ""))))
    with_axe(page)
    page.ask("hello")
    show(page, "rendered")
    for width in page.at_widths(1280, 390):
        assert all_findings(page) == {}, width
        assert page.page.evaluate("document.documentElement.scrollWidth") <= width
