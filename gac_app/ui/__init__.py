"""The page: Gradio tabs around one token board. Markup and scripts are in `static/`. Knows no model."""

from __future__ import annotations

import os

from gac_app.ui.gradio_stubs import leave_out_stubs

# Gradio reads this once, on import. Only this exact value turns off its analytics.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
leave_out_stubs()
