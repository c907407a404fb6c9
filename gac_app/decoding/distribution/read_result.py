"""The result of one read of a member: distributions in the union.

Shape suffixes: `N` positions, `V` the member's own vocabulary, `U` the union.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as SequenceOf
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import NamedTuple

import torch

from gac_app.decoding.distribution.token_distribution import TokenDistribution
from gac_app.errors import GacError
from gac_app.vocab.mapping import VocabMapping

Choose = Callable[[TokenDistribution], int | None]


@dataclass(slots=True)
class MayDraft:
    """Whether a member may read its likely next token before it is fed.

    The session sets it during the forward pass; the member checks it right after.

    Attributes:
        choose: the token, from the distribution read last, or None for no draft; called once a read, in any thread.
            None = the argmax.
        is_over: the member has checked, or is about to.
    """

    is_on: bool = False
    choose: Choose | None = None
    is_over: bool = False


class Stage(Enum):
    """Of a read that has begun. For the ways from one to another see `HeldSequence`."""

    DRAFT = "draft"  # it reads a token that is not fed yet
    DUE = "due"  # it reads what has to be read
    REJECTED = "rejected"  # it reads a drafted token that was not chosen


@dataclass(slots=True, eq=False)
class PendingRead:
    """A read that has begun, and whose result nobody has taken. The `num_ids` that it reads are in the sequence."""

    num_ids: int
    future: Future[ReadResult] = field(default_factory=Future)
    may_draft: MayDraft = field(default_factory=MayDraft)
    stage: Stage = Stage.DRAFT


class ReadResult:
    """A member's next-token distributions after one read, in the union.

    Args:
        num_read: ids read for it.
        may_draft: what it said when the read ended.

    Attributes:
        distributions: by position.
        seconds: of the forward pass, which other sequences may have shared.
        draft: the read of the member's next token, which follows before that is fed; None = none.
    """

    def __init__(
        self,
        distributions: SequenceOf[TokenDistribution],
        num_read: int,
        may_draft: MayDraft | None = None,
        seconds: float = 0.0,
    ) -> None:
        self.distributions, self.num_read, self.seconds = distributions, num_read, seconds
        self.draft: PendingRead | None = None
        self._choose = may_draft.choose if may_draft else None

    @cached_property
    def draft_id(self) -> int | None:
        """The token that the member reads next if it drafts; None = none."""
        last = self.distributions[-1]
        try:
            return self._choose(last) if self._choose else last.argmax_id
        except GacError:  # the step that comes there reports it
            return None

    @property
    def is_finite(self) -> bool:
        """Whether its logits are finite. This is the first access to them, so late GPU errors surface here."""
        return all(distribution.is_finite for distribution in self.distributions)


class MemberStep(NamedTuple):
    """What a member contributes to a step.

    Attributes:
        distribution: of its next token, over the union.
        num_read: ids read for it; 0 where the member needed no forward pass.
        seconds: of the forward pass, which other sequences may have shared.
    """

    distribution: TokenDistribution
    num_read: int
    seconds: float

    def masked(self, mask_U: torch.Tensor | None) -> MemberStep:
        """With its distribution masked; None = as it is."""
        return self if mask_U is None else self._replace(distribution=self.distribution.masked(mask_U))


@torch.inference_mode()
def distributions_of(
    mapping: VocabMapping, logits_NV: torch.Tensor, *, with_logs: bool = False
) -> list[TokenDistribution]:
    """The distributions of logits in the member's own ids.

    Args:
        with_logs: `log_probs_U` are exact, however small the probabilities.
    """
    if not with_logs:
        return [TokenDistribution(probs_U) for probs_U in mapping.project(logits_NV)]
    return [TokenDistribution(logs_U.exp(), log_probs_U=logs_U) for logs_U in mapping.project_logs(logits_NV)]
