"""Speculative decoding: who drafts, and who verifies the draft. Does not know how steps follow one another."""

from gac_app.decoding.speculation.draft_costs import DraftCosts
from gac_app.decoding.speculation.schedule import when_to_draft
from gac_app.decoding.speculation.speculator import Speculator

__all__ = ["DraftCosts", "Speculator", "when_to_draft"]
