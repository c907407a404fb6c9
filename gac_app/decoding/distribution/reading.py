"""What a member says after one read: distributions in the union, put there no sooner than they are looked at.

Shape suffixes: `N` positions, `V` the member's own vocabulary, `U` the union.
"""

from __future__ import annotations

import math
from collections.abc import Sequence as SequenceOf
from concurrent.futures import Future
from copy import copy
from dataclasses import dataclass, field

import torch

from gac_app.decoding.distribution.token_distribution import OwnDistribution, TokenDistribution, rows_of
from gac_app.vocab.mapping import FloatV, VocabMapping


@dataclass(slots=True)
class Foreseen:
    """What is known, while a pass is under way, of the token that will be taken behind it.

    The session writes it, the member looks at it as soon as the pass is over: where its own favourite is that token, it
    reads it without being asked.

    Attributes:
        token_id: in the union; None = nothing is known.
        is_favourite: it is the member's favourite, whichever that is.
    """

    token_id: int | None = None
    is_favourite: bool = False

    @property
    def is_known(self) -> bool:
        return self.is_favourite or self.token_id is not None

    def is_met_by(self, argmax_id: int) -> bool:
        """Whether a member with this favourite may read it."""
        return self.is_favourite or self.token_id == argmax_id


@dataclass(frozen=True, slots=True)
class Ahead:
    """A pass that a member has begun without being asked: `ids` are behind its sequence now."""

    ids: tuple[int, ...]
    reading: Future[Reading] = field(default_factory=Future)
    foreseen: Foreseen = field(default_factory=Foreseen)


class Reading:
    """A member's next-token distributions after one read, in the union.

    A late one is put there only when it is looked at, by whoever looks: a member that reads on by its favourite does so
    first.

    Attributes:
        num_read: ids read for it.
        seconds: of the forward pass, shared with what was batched into it.
        ahead: what the member has begun to read behind it; None = nothing.
    """

    __slots__ = ("_favourite", "_late_V", "_mapping", "_rows", "ahead", "num_read", "seconds")

    def __init__(
        self, mapping: VocabMapping, logits_NV: torch.Tensor, num_read: int, foreseen: Foreseen | None = None
    ) -> None:
        """`logits_NV` are in the member's own ids. One on a CPU whose favourite is foreseen is late, as far as that can
        be told from the logits."""
        self.num_read = num_read
        self.seconds = 0.0
        self.ahead: Ahead | None = None
        self._mapping = mapping
        can_be_late = foreseen and foreseen.is_known and len(logits_NV) == 1 and logits_NV.device.type == "cpu"
        favourite = mapping.likeliest(logits_NV.numpy()[0]) if can_be_late else None
        is_late = foreseen and favourite is not None and foreseen.is_met_by(favourite)
        self._favourite = favourite if is_late else None
        self._late_V = None if self._favourite is None else logits_NV.numpy()[0].copy()
        self._rows = _in_union(mapping, logits_NV) if self._favourite is None else None

    @property
    def rows(self) -> SequenceOf[TokenDistribution]:
        """The distributions, by position."""
        if self._rows is None:
            assert self._late_V is not None  # noqa: S101 (it is late)
            self._rows = [_own_row(self._mapping, self._late_V)]
        return self._rows

    @property
    def probs_NU(self) -> torch.Tensor:
        """All of them as one tensor, which is made for whoever looks."""
        return torch.stack([row.probs_U for row in self.rows])

    @property
    def last_argmax(self) -> int:
        """The likeliest token at the last position."""
        return self.rows[-1].top[0][0] if self._favourite is None else self._favourite

    @property
    def is_finite(self) -> bool:
        """Whether its logits are numbers. The first look at one, so a GPU's late errors come up here."""
        return self._favourite is not None or all(math.isfinite(row.top[0][1]) for row in self.rows)

    def again(self, num_positions: int) -> Reading:
        """The last `num_positions` for somebody else, who does not pay for them."""
        reading = copy(self)
        reading.num_read, reading.seconds, reading.ahead = 0, 0.0, None
        reading._rows = self.rows[len(self.rows) - num_positions :]
        return reading


def _in_union(mapping: VocabMapping, logits_NV: torch.Tensor) -> SequenceOf[TokenDistribution]:
    if logits_NV.device.type == "cpu":
        return [_own_row(mapping, logits_V) for logits_V in logits_NV.numpy()]
    with torch.inference_mode():
        return rows_of(mapping.project(logits_NV))


def _own_row(mapping: VocabMapping, logits_V: FloatV) -> TokenDistribution:
    with torch.inference_mode():
        return OwnDistribution(mapping, mapping.own_probs(logits_V))
