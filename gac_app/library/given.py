"""A member whose logits the caller gives: transformers' `generate` computes them.

Shape suffixes: `N` positions, `V` the model's vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import torch

from gac_app.decoding.distribution import ReadResult, distributions_of
from gac_app.decoding.member import InlineMember
from gac_app.errors import MemberError
from gac_app.models.hf import TokenizedModel
from gac_app.models.sequence import ForwardRequest, KVSequence, Share
from gac_app.vocab.mapping import VocabMapping


class GivenModel(TokenizedModel):
    """A model that computes nothing here."""

    def forward(self, requests: list[ForwardRequest]) -> list[torch.Tensor]:
        raise NotImplementedError("its logits are given")

    def truncate(self, slot: int, length: int) -> None:
        """Nothing is cached here."""

    def copy(self, slot: int, other: int, length: int) -> None:
        """Nothing is cached here."""


class GivenMember(InlineMember):
    """Every read of a sequence ends when logits are given for its share, whatever it reads: its caller gives those
    after the last id.
    """

    def __init__(self, model: GivenModel, mapping: VocabMapping) -> None:
        super().__init__(model, mapping)
        self._pending: dict[str, tuple[ForwardRequest, Future[ReadResult]]] = {}
        self._given: dict[str, torch.Tensor] = {}

    @contextmanager
    def given(self, share: str, logits_V: torch.Tensor) -> Iterator[None]:
        """Within the body, reads of this share's sequence get these logits."""
        self._given[share] = logits_V
        if share in self._pending:
            self._end(share)
        try:
            yield
        finally:
            self._given.pop(share, None)

    def _end(self, share: str) -> None:
        request, future = self._pending.pop(share)
        num_read, request.sequence.ids = request.num_uncomputed, request.ids
        own_NV = self._given[share][None].to(torch.float32, copy=True)  # mapping writes into it
        result = ReadResult(distributions_of(self.mapping, own_NV), num_read)
        if not result.is_finite:
            future.set_exception(MemberError(self.name, "non-finite", "its logits are not finite numbers"))
        elif future.set_running_or_notify_cancel():
            future.set_result(result)

    def open(self, ids: list[int], share: Share, namespace: str = "", *, is_reproducible: bool = False) -> KVSequence:
        return KVSequence(0, tuple(ids), share=share)

    def read(self, request: ForwardRequest) -> Future[ReadResult]:
        future: Future[ReadResult] = Future()
        [share] = request.sequence.share
        self._pending[share] = request, future
        if share in self._given:
            self._end(share)
        return future

    def free(self, sequence: KVSequence) -> None:
        self._pending.pop(sequence.share[0], None)

    def close(self) -> None:
        """It is its caller's."""
