"""The result of one read of a member: distributions in the union, projected lazily, on first access.

Shape suffixes: `N` positions, `V` the member's own vocabulary, `U` the union.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as SequenceOf
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

import torch

from gac_app.decoding.distribution.own_distribution import LazyDistribution, OwnDistribution
from gac_app.decoding.distribution.token_distribution import TokenDistribution, distributions_of
from gac_app.vocab.mapping import VocabMapping

Choose = Callable[[TokenDistribution], int | None]


@dataclass(slots=True)
class MayDraft:
    """Whether a member may read its likely next token before it is fed.

    The session sets it during the forward pass; the member checks it right after.

    Attributes:
        choose: the token, from the distribution read last, or None for no draft; called once a read, in any thread.
            None = the argmax.
    """

    is_on: bool = False
    choose: Choose | None = None


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

    Attributes:
        distributions: by position.
        num_read: ids read for it.
        seconds: of the forward pass, which other sequences may have shared.
        draft: the read of the member's next token, which follows before that is fed; None = none.
        with_logs: `log_probs_U` are exact, however small the probabilities.
    """

    __slots__ = ("_choose", "_draft_id", "distributions", "draft", "num_read", "seconds", "with_logs")

    def __init__(
        self,
        mapping: VocabMapping,
        logits_NV: torch.Tensor,
        num_read: int,
        may_draft: MayDraft | None = None,
        *,
        with_logs: bool = False,
    ) -> None:
        """`logits_NV` are in the member's own ids. On a CPU, where the member may draft next, they
        are projected lazily, as long as the logits tell the argmax.
        """
        self.num_read = num_read
        self.with_logs = with_logs
        self.seconds = 0.0
        self.draft: PendingRead | None = None
        self._choose = may_draft.choose if may_draft else None
        is_argmax_wanted = may_draft and may_draft.is_on and not self._choose
        can_be_lazy = is_argmax_wanted and len(logits_NV) == 1 and logits_NV.device.type == "cpu"
        argmax_id = mapping.likeliest(logits_NV.numpy()[0]) if can_be_lazy else None
        self.distributions: SequenceOf[TokenDistribution]
        if with_logs:
            self.distributions = _with_logs(mapping, logits_NV)
        elif argmax_id is None:
            self.distributions = _in_union(mapping, logits_NV)
        else:
            self.distributions = [LazyDistribution(mapping, logits_NV.numpy()[0].copy(), argmax_id)]

    @classmethod
    def of(cls, distributions: SequenceOf[TokenDistribution], num_read: int, seconds: float) -> ReadResult:
        """A result without logits."""
        result = cls.__new__(cls)
        result.distributions, result.num_read, result.seconds = distributions, num_read, seconds
        result.draft, result.with_logs, result._choose = None, False, None
        return result

    @property
    def probs_NU(self) -> torch.Tensor:
        """All of them stacked into one tensor, at each access."""
        return torch.stack([distribution.probs_U for distribution in self.distributions])

    @property
    def draft_id(self) -> int | None:
        """The token that the member reads next if it drafts; None = none."""
        if not hasattr(self, "_draft_id"):
            last = self.distributions[-1]
            self._draft_id = self._choose(last) if self._choose else last.argmax_id
        return self._draft_id

    @property
    def is_finite(self) -> bool:
        """Whether its logits are finite. This is the first access to them, so late GPU errors surface here."""
        return all(distribution.is_finite for distribution in self.distributions)

    def again(self, num_positions: int) -> ReadResult:
        """The last `num_positions`, for another sequence that has the same ids."""
        result = self.of(self.distributions[len(self.distributions) - num_positions :], 0, 0.0)
        result.with_logs = self.with_logs
        return result


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


def _in_union(mapping: VocabMapping, logits_NV: torch.Tensor) -> SequenceOf[TokenDistribution]:
    with torch.inference_mode():
        if logits_NV.device.type == "cpu":
            return [OwnDistribution(mapping, mapping.own_probs(logits_V)) for logits_V in logits_NV.numpy()]
        return distributions_of(mapping.project(logits_NV))


def _with_logs(mapping: VocabMapping, logits_NV: torch.Tensor) -> SequenceOf[TokenDistribution]:
    with torch.inference_mode():
        logs_NU = mapping.project_logs(logits_NV)
        if logits_NV.device.type == "cpu":
            return [TokenDistribution(logs_U.exp(), log_probs_U=logs_U) for logs_U in logs_NU]
        return distributions_of(logs_NU.exp(), logs_NU)
