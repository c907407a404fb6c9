"""The page's files in `static/`, and the theme of Gradio's own parts. Nothing remote is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache, wraps
from typing import Any

import gradio as gr
from gradio.routes import ORJSONResponse
from gradio.themes.utils import fonts

from gac_app.folders import STATIC_DIR
from gac_app.ui.requests import PageFunction, replying
from gac_app.ui.scripts import addresses, bundle_of
from gac_app.ui.words import translations

_STYLES = "palette frame prompt board figures tokens rendered keep asked inspector votes settings lists lab batch arena"

# A variable of static/css/palette.css, which has light and dark values -> the parts of Gradio's theme that have it.
_COLOURS = {
    "page": "body_background_fill background_fill_secondary",
    "ink": "body_text_color block_title_text_color button_secondary_text_color button_primary_background_fill "
    "checkbox_background_color_selected checkbox_border_color_selected checkbox_label_text_color_selected slider_color "
    "border_color_accent",
    "ink-soft": "body_text_color_subdued block_label_text_color block_info_text_color input_placeholder_color "
    "button_primary_background_fill_hover",
    "card": "background_fill_primary block_background_fill input_background_fill button_primary_text_color "
    "checkbox_label_background_fill",
    "line": "border_color_primary block_border_color input_border_color button_secondary_background_fill_hover",
    "well": "button_secondary_background_fill checkbox_label_background_fill_selected",
    "focus": "input_border_color_focus",
}


def page_assets() -> dict[str, Any]:
    """Keyword arguments for `gr.mount_gradio_app` or `Blocks.launch`: theme, styles, head and words."""
    return {
        "theme": _theme(),
        "css_paths": [STATIC_DIR / "css" / f"{name}.css" for name in _STYLES.split()],
        "head": '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">',
        "i18n": translations(),
    }


def script_of(module: str, events: Sequence[str] = ()) -> str:
    """For `js_on_load`: starts a part of the page by a module of `static/js`, whose own name has no ending.

    Args:
        events: what the module may trigger. Gradio looks for their names, in quotes.
    """
    names = ", ".join(f'"{name}"' for name in events)
    return f"// events: {names}\n{_start()}".replace("MODULE", module).replace("BUNDLE", bundle_of(module))


def called(module: str, function: str, *values: object) -> str:
    """For an event's `js`: calls a function of a module, with the event's inputs unless there are values."""
    given = ", ".join(map(json.dumps, values)) or "...inputs"
    return f'async (...inputs) => (await import("{bundle_of(module)}")).modules["{module}"].{function}({given})'


@cache
def _start() -> str:
    return (STATIC_DIR / "start.js").read_text("utf-8")


@cache
def markup_of(name: str) -> str:
    """A constant template of `static/`. It must not have `${` or double braces, which Gradio evaluates."""
    return (STATIC_DIR / f"{name}.html").read_text("utf-8")


def component(
    name: str,
    module: str,
    *,
    events: Sequence[str] = (),
    functions: Sequence[PageFunction] = (),
    markup: str = "",
    value: str = "",
) -> gr.HTML:
    """A part of the page with the id `gac-NAME`.

    Args:
        name: of the template in `static/`, unless there is `markup`.
        module, events: as in `script_of`.
        functions: what the module can call; `replying` wraps them.
    """
    return gr.HTML(
        value=value,
        html_template=markup or markup_of(name),
        js_on_load=script_of(module, events),
        server_functions=list(map(_rendered, functions)),
        apply_default_css=False,
        elem_id=f"gac-{name.replace('_', '-')}",
    )


@cache
def first_markup() -> str:
    """For the beginning of the document's head: Gradio adds a page's scripts after its own have run, which is after the
    first paint.
    """
    return markup_of("first") + addresses()


def _rendered(function: PageFunction) -> Callable[..., ORJSONResponse]:
    """A function whose reply is made JSON in its own thread; FastAPI would do that, slowly, on the event loop."""
    replies = replying(function)

    @wraps(function)
    def reply(data: object = None) -> ORJSONResponse:
        return ORJSONResponse(replies(data))

    return reply


def _theme() -> gr.themes.Base:
    # Gradio ships the files of both, which static/first.html loads; its other weights have only parts of the alphabet.
    theme = gr.themes.Base(
        primary_hue=gr.themes.colors.stone,
        neutral_hue=gr.themes.colors.stone,
        radius_size=gr.themes.sizes.radius_md,
        font=(fonts.Font("IBM Plex Sans"), "ui-sans-serif", "system-ui", "sans-serif"),
        font_mono=(fonts.Font("IBM Plex Mono"), "ui-monospace", "Consolas", "monospace"),
    )
    colours = {part: f"var(--{name})" for name, parts in _COLOURS.items() for part in parts.split()}
    both = colours | {f"{part}_dark": colour for part, colour in colours.items()}
    return theme.set(**both, color_accent="var(--ink)")
