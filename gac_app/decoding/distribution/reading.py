"""What a member says after one read: distributions in the union, put there no sooner than they are looked at.

Shape suffixes: `N` positions, `V` the member's own vocabulary, `U` the union.
"""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from concurrent.futures import Future
from copy import copy
from dataclasses import dataclass, field

import torch

from gac_app.decoding.distribution.token_distribution import (
    LazyDistribution,
    OwnDistribution,
    TokenDistribution,
    rows_of,
)
from gac_app.vocab.mapping import VocabMapping


@dataclass(slots=True)
class MayDraft:
    """Whether a member may read its argmax token behind a pass, before it is fed.

    The session writes it while the pass is under way; the member looks at it as soon as the pass is over.
    """

    is_on: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """A token that a member reads before it is fed: `ids` are behind its sequence now."""

    ids: tuple[int, ...]
    reading: Future[Reading] = field(default_factory=Future)
    may_draft: MayDraft = field(default_factory=MayDraft)


class Reading:
    """A member's next-token distributions after one read, in the union.

    Attributes:
        rows: the distributions, by position.
        num_read: ids read for it.
        seconds: of the forward pass, shared with what was batched into it.
        draft: what the member reads behind it before it is fed; None = nothing.
    """

    __slots__ = ("draft", "num_read", "rows", "seconds")

    def __init__(
        self, mapping: VocabMapping, logits_NV: torch.Tensor, num_read: int, may_draft: MayDraft | None = None
    ) -> None:
        """`logits_NV` are in the member's own ids. On a CPU, where it may draft behind them, they
        are projected lazily, as long as the logits tell the argmax."""
        self.num_read = num_read
        self.seconds = 0.0
        self.draft: Draft | None = None
        can_be_lazy = may_draft and may_draft.is_on and len(logits_NV) == 1 and logits_NV.device.type == "cpu"
        argmax_id = mapping.likeliest(logits_NV.numpy()[0]) if can_be_lazy else None
        self.rows: SequenceOf[TokenDistribution]
        if argmax_id is None:
            self.rows = _in_union(mapping, logits_NV)
        else:
            self.rows = [LazyDistribution(mapping, logits_NV.numpy()[0].copy(), argmax_id)]

    @property
    def probs_NU(self) -> torch.Tensor:
        """All of them as one tensor, which is made for whoever looks."""
        return torch.stack([row.probs_U for row in self.rows])

    @property
    def last_argmax(self) -> int:
        """The likeliest token at the last position."""
        return self.rows[-1].argmax_id

    @property
    def is_finite(self) -> bool:
        """Whether its logits are numbers. The first look at one, so a GPU's late errors come up here."""
        return all(row.is_finite for row in self.rows)

    def again(self, num_positions: int) -> Reading:
        """The last `num_positions` for somebody else, who does not pay for them."""
        reading = copy(self)
        reading.num_read, reading.seconds, reading.draft = 0, 0.0, None
        reading.rows = self.rows[len(self.rows) - num_positions :]
        return reading


def _in_union(mapping: VocabMapping, logits_NV: torch.Tensor) -> SequenceOf[TokenDistribution]:
    with torch.inference_mode():
        if logits_NV.device.type == "cpu":
            return [OwnDistribution(mapping, mapping.own_probs(logits_V)) for logits_V in logits_NV.numpy()]
        return rows_of(mapping.project(logits_NV))
