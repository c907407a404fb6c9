"""The decoding loop: one step, and one session of steps. Knows no run, visitor or page."""

from gac_app.decoding.loop.session import Branch, DecodingSession
from gac_app.decoding.loop.tracing import StepView

__all__ = ["Branch", "DecodingSession", "StepView"]
