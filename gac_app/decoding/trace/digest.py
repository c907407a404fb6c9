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
            self._add(json.dumps(constraints).encode())

    def add(self, step: StepTrace) -> None:
        """Add a step. Of a replayed step only the token counts, since its values belong to another answer."""
        self._add(step.token)
        if step.is_forced:
            return
        self._add_probs([step.prob, step.gate_confidence])
        self._add_candidates(step.top)
        for member in step.members:
            self._add(member.member.encode())
            self._add_probs([member.weight, member.prob])
            self._add_candidates(member.top)

    @property
    def hex(self) -> str:
        return self._hash.hexdigest()[:NUM_HEX]

    def _add(self, data: bytes) -> None:
        self._hash.update(struct.pack("<I", len(data)) + data)

    def _add_probs(self, probs: Iterable[float]) -> None:
        for prob in probs:
            self._hash.update(struct.pack("<d", prob))

    def _add_candidates(self, candidates: Iterable[Candidate]) -> None:
        for candidate in candidates:
            self._add(candidate.token)
            self._add_probs([candidate.prob])
