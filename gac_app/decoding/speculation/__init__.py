"""Speculative decoding: who drafts, and who verifies the draft. Does not know how steps follow one another."""

from gac_app.decoding.speculation.schedule import drafts_tokens
from gac_app.decoding.speculation.speculator import Speculator

__all__ = ["Speculator", "drafts_tokens"]
