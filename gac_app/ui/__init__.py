"""The page: Gradio tabs around one token board. Markup and scripts are in `static/`. Knows no model."""

from __future__ import annotations

import os

# Before Gradio is imported: no analytics (only this exact value turns them off), and nothing for its monitor, which
# would keep ten thousand events and sum them up after each.
os.environ |= {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_ANALYTICS_MAX_EVENTS": "1",
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": str(2**62),
}

import gac_app.ui.gradio_patches  # noqa: F401
