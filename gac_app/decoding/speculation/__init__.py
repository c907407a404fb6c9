"""Speculative decoding: who drafts, and who verifies the draft. Does not know how steps follow one another."""

from gac_app.decoding.speculation.drafter import Drafter
from gac_app.decoding.speculation.schedule import Schedules

__all__ = ["Drafter", "Schedules"]
