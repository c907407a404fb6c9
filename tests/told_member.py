"""A member as an inference server computes it: asked for its likeliest tokens, and again where these are too few."""

from __future__ import annotations

import math
from concurrent.futures import Future
from dataclasses import dataclass, field

import torch

from gac_app.decoding.distribution import PartialDistribution, ReadResult, Told
from gac_app.decoding.member import InlineMember
from gac_app.errors import MemberError
from gac_app.models.base import Model
from gac_app.models.sequence import ForwardRequest
from gac_app.vocab.mapping import VocabMapping


@dataclass
class Teller:
    """Tells of log-probabilities."""

    most: float = math.inf  # tokens that it tells at most
    most_wanted: float = 0  # single tokens that it tells of at once
    asked: list[int] = field(default_factory=list)  # how many tokens, each time; minus how many single ones
    num_answered: float = math.inf  # questions; all later ones fail but a step's first

    def tell(self, logprobs_V: torch.Tensor, num: int) -> Told:
        self.note(num)
        if num > self.most:
            return [], [], 0.0
        values, ids = logprobs_V.topk(min(num, len(logprobs_V)))
        return ids.tolist(), values.tolist(), float(values[-1])

    def note(self, num: int) -> None:
        self.asked.append(num)
        if len(self.asked) > self.num_answered and num != self.asked[0]:
            raise MemberError("b", "exception", "planned")


@dataclass
class Questions:
    """About one distribution."""

    teller: Teller
    logprobs_V: torch.Tensor

    def more(self, num: int) -> Told:
        return self.teller.tell(self.logprobs_V, num)

    def about(self, wanted: list[int], known: tuple[int, float]) -> list[float] | None:
        assert known[1] == float(self.logprobs_V[known[0]])
        if len(wanted) > self.teller.most_wanted:
            return None
        self.teller.note(-len(wanted))
        return self.logprobs_V[wanted].tolist()


class ToldMember(InlineMember):
    """A model whose distributions a teller tells, `num` tokens at first."""

    def __init__(self, model: Model, mapping: VocabMapping, num: int, teller: Teller | None = None) -> None:
        super().__init__(model, mapping)
        self._num = num
        self.teller = teller or Teller()

    def read(self, request: ForwardRequest) -> Future[ReadResult]:
        if request.with_logs:
            return super().read(request)
        num_read = self.model.take(request)
        [logits_NV] = self.model.read([request])
        future: Future[ReadResult] = Future()
        distributions = [told_of(logits_V.clone(), self.mapping, self._num, self.teller) for logits_V in logits_NV]
        future.set_result(ReadResult(distributions, num_read))
        return future


def told_of(logits_V: torch.Tensor, mapping: VocabMapping, num: int, teller: Teller) -> PartialDistribution:
    """A distribution of which `num` tokens are told at first."""
    questions = Questions(teller, torch.log_softmax(logits_V, 0))
    return PartialDistribution(mapping, questions.more(num), questions)
