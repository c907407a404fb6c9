"""A model with its passes, without a thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future

import torch

from gac_app.decoding.distribution.read_result import ReadResult
from gac_app.executors.batch_scheduler import BatchScheduler
from gac_app.executors.fair_queue import ReadCommand
from gac_app.models.sequence import BACKGROUND, LOCAL, ForwardRequest, KVSequence
from tests.fakes import FakeModel, after, mapping_of

LONG = "the model votes again and again, " * 3


class WatchedModel(FakeModel):
    """Tells of each pass how many ids it reads."""

    on_pass: Callable[[int], None] | None = None

    def read(self, requests: list[ForwardRequest]) -> list[torch.Tensor]:
        if self.on_pass:
            self.on_pass(sum(request.num_uncomputed for request in requests))
        return super().read(requests)


class Desk:
    """A model whose long reads are read four ids at a time; before each pass `on_pass` is told its number of ids."""

    def __init__(self, on_pass: Callable[[int], None] | None = None, **fields: object) -> None:
        self.model = WatchedModel(**fields)  # type: ignore[arg-type]
        self.model.on_pass = on_pass
        self.model.chunk_size = 4
        self.scheduler = BatchScheduler(self.model, mapping_of(self.model))

    def open(self, text: str, *share: str) -> KVSequence:
        sequence = self.model.new_sequence()
        sequence.share = share or LOCAL
        sequence.prompt = tuple(self.model.encode_raw(text))
        return sequence

    def ask(
        self, sequence: KVSequence, ids: Sequence[int] = (), num_logits: int = 1, *, is_background: bool = False
    ) -> Future[ReadResult]:
        """Ask for these ids after those read before, or after the prompt."""
        sequence.share = BACKGROUND if is_background else sequence.share
        command = ReadCommand(after(sequence, ids, num_logits), Future())
        self.scheduler.add(command)
        return command.future

    def read_together(self, sequences: list[KVSequence], seconds: dict[int, float]) -> None:
        """Read what is pending, and let passes over so many sequences have taken so long."""
        for sequence in sequences:
            self.ask(sequence)
        self.run()
        for size, cost in seconds.items():
            for _ in range(5):
                self.scheduler._model.costs.note(size, cost)

    def run(self) -> None:
        while not self.scheduler.is_idle:
            self.scheduler.advance()
