"""A digest of an answer's steps: equal digests mean equal tokens and, to the last bit, equal probabilities.

It covers what a step chose and from what: the token, the members that took part with their weights, and every
probability in the trace; and the answer's JSON schema and bias, if any. It leaves out costs, drafts, and members that
were not asked.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable

from gac_app.decoding.trace.events import Candidate, StepTrace
from gac_app.settings import Settings

NUM_HEX = 16  # digits of a digest: 64 bits tell answers apart


class StepDigest:
    """Computed step by step."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._hash = hashlib.sha256()
        if settings and settings.is_constrained:
            constraints = [settings.json_schema, sorted(settings.logit_bias.items())]
            self._hash.update(_sized(json.dumps(constraints).encode()))

    def add(self, step: StepTrace) -> None:
        """Add a step. Of a replayed step only the token counts, since its values belong to another answer."""
        found = _sized(step.token)
        if not step.is_forced:
            found += struct.pack("<2d", step.prob, step.gate_confidence) + _candidates(step.top)
            for member in step.members:
                found += _sized(member.member.encode()) + struct.pack("<2d", member.weight, member.prob)
                found += _candidates(member.top)
        self._hash.update(found)

    @property
    def hex(self) -> str:
        return self._hash.hexdigest()[:NUM_HEX]


def _sized(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def _candidates(top: Iterable[Candidate]) -> bytes:
    parts = [struct.pack(f"<I{len(token)}sd", len(token), token, prob) for _, token, prob in top]
    return b"".join(parts)
