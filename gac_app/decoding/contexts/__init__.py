"""One member's part in a session: what it has read, and what it still has to read. Knows no other member."""

from gac_app.decoding.contexts.context import MemberContext
from gac_app.decoding.contexts.gathering import POLL_S, Wait, gather, get_within
from gac_app.decoding.contexts.sequence_reads import SampleFn

__all__ = ["POLL_S", "MemberContext", "SampleFn", "Wait", "gather", "get_within"]
