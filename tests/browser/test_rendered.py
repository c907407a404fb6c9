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
    """The same, written live and at once; until a token is chosen."""
    ensemble = PlantedEnsemble(pieces=(*pieces_of(MARKDOWN), ""), pause_s=0.004)
    page = open_page(serve(ensemble), permissions=["clipboard-read", "clipboard-write"])
    with_axe(page)
    page.ask("hello", and_wait=False)
    page.wait_for_tokens(2)
    show(page, "rendered")
    page.wait_for_end()
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
    for width in page.at_widths(390, 1280):
        assert all_findings(page) == {}, width
        assert page.page.evaluate("document.documentElement.scrollWidth") <= width
    live = shown.inner_html()
    page.page.click("role=tab[name=History]")
    page.page.click(".gac-run-open")
    page.page.wait_for_selector(".gac-asked h2:text-is('hello')")
    show(page, "rendered")
    assert shown.inner_html() == live
    page.leave_fields()
    page.page.keyboard.press("n")
    page.page.wait_for_selector(".gac-inspector h3:text-is('Token 5')")
    assert page.page.locator(".gac-views input:checked").get_attribute("value") == "changes"


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
