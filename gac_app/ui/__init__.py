"""The page: Gradio tabs around one token board. Markup and client code live in `static/`."""

from __future__ import annotations

import os

from gac_app.ui.gradio_stubs import leave_out_stubs

# Gradio reads this once, on import. Only this exact string keeps it from calling home.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
leave_out_stubs()
