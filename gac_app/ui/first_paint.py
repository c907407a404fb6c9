"""The first part of the page: restores the stored theme and language, and says where the modules are.

Gradio adds a page's scripts after its own have run, which is after the first paint.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jinja2
from gradio import routes

from gac_app.ui.scripts import STATIC_DIR, addresses

_PAGE = "frontend/index.html"


def put_first() -> None:
    """Put `static/first.html` and the modules' addresses at the beginning of Gradio's document, for any host."""
    environment = routes.templates.env
    if not isinstance(environment.loader, _WithFirst):
        environment.loader = _WithFirst(environment.loader)


class _WithFirst(jinja2.BaseLoader):
    def __init__(self, loader: jinja2.BaseLoader) -> None:
        self._loader = loader

    def get_source(self, environment: Any, template: str) -> tuple[str, str | None, Callable[[], bool] | None]:
        source, path, is_fresh = self._loader.get_source(environment, template)
        if template == _PAGE:
            first = (STATIC_DIR / "first.html").read_text("utf-8") + addresses()
            source = source.replace("<head>", f"<head>{{% raw %}}{first}{{% endraw %}}", 1)
        return source, path, is_fresh
