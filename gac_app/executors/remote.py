"""Members that an inference server computes. Threads wait for its answers: the server itself batches what it is
asked, keeps prefixes, and shares its time.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

from gac_app.decoding.contexts import POLL_S
from gac_app.decoding.distribution import PartialDistribution, ReadResult, Told
from gac_app.decoding.forward import failures_named
from gac_app.decoding.member import InlineMember
from gac_app.errors import MemberError, SessionStopped
from gac_app.models.remote.model import RemoteModel
from gac_app.models.sequence import ForwardRequest, KVSequence, Share
from gac_app.vocab.mapping import VocabMapping

A = TypeVar("A")
T = TypeVar("T")

PROBE_S = 5.0  # between two questions to a server that fails


class RemoteMember(InlineMember):
    """A member whose reads are questions to its server. A thread for each slot asks those of one sequence in order."""

    def __init__(self, model: RemoteModel, mapping: VocabMapping) -> None:
        super().__init__(model, mapping)
        self._remote = model
        self._threads = defaultdict[int, ThreadPoolExecutor](lambda: ThreadPoolExecutor(1, f"ask-{model.name}"))
        self._lock = threading.RLock()  # a session that is collected frees its sequences, within `read` too
        self._closed = threading.Event()
        self._is_probed = False

    @property
    def why_late(self) -> str:
        where = self.model.engine
        return f"{where} gave no answer in time for this step: see its load and its log, or raise step_timeout_s"

    def open(self, ids: list[int], share: Share, namespace: str = "", *, is_reproducible: bool = False) -> KVSequence:
        with self._lock:
            return super().open(ids, share, namespace, is_reproducible=is_reproducible)

    def read(self, request: ForwardRequest) -> Future[ReadResult]:
        """See `Member`. The server knows no shares."""
        try:
            return self._asking(request.sequence, self._asked, request)
        except MemberError as error:
            future: Future[ReadResult] = Future()
            future.set_exception(error)
            return future

    def free(self, sequence: KVSequence) -> None:
        with suppress(MemberError, RuntimeError):  # closed, or the program ends
            self._asking(sequence, self._free, sequence)

    def close(self) -> None:
        with self._lock:
            self._closed.set()
            for thread in self._threads.values():
                thread.shutdown(wait=False)
        super().close()

    def refuse(self, share: Share) -> None:
        """Pending reads end by themselves."""

    @property
    def _why_closed(self) -> MemberError:
        return MemberError(self.name, "exception", "has been closed")

    def _asking(self, sequence: KVSequence, ask: Callable[[A], T], about: A) -> Future[T]:
        """A call in the thread of the sequence, after those before it. Raises MemberError after closing."""
        with self._lock:
            if self._closed.is_set():
                raise self._why_closed
            return self._threads[sequence.slot].submit(ask, about)

    def _asked(self, request: ForwardRequest) -> ReadResult:
        if self._closed.is_set():
            raise self._why_closed
        with self._failures_noted():
            if request.with_logs:
                return super().read(request).result()
            started, num_read, ids = time.monotonic(), self.model.take(request), list(request.ids)
            told = self._remote.read_partial(request)
            ends = range(len(ids) - len(told) + 1, len(ids) + 1)
            seconds = time.monotonic() - started
            if num_read == request.num_logits:
                self.model.costs.note(num_read, seconds)
            distributions = [
                PartialDistribution(self.mapping, one, _Step(self, request.sequence, ids[:end], seconds))
                for end, one in zip(ends, told, strict=True)
            ]
            return ReadResult(distributions, num_read, seconds)

    def ask_again(self, step: _Step, ask: Callable[[RemoteModel], T]) -> T:
        """Another question of a step, which the session's thread waits for. Raises MemberError, SessionStopped."""
        started, future = time.monotonic() - step.seconds, self._asking(step.sequence, ask, self._remote)
        while not wait([future], POLL_S).done:
            if step.sequence.stopped.is_set():
                raise SessionStopped
            if time.monotonic() - started > step.sequence.timeout_s:
                raise MemberError(self.name, "timeout", self.why_late)
        step.seconds = time.monotonic() - started
        with self._failures_noted():
            return future.result()

    @contextmanager
    def _failures_noted(self) -> Iterator[None]:
        try:
            with failures_named(self.model):
                yield
        except MemberError as error:
            if error.kind == "exception":
                self._fail()
            raise

    def _fail(self) -> None:
        """Ask whether it fails for everybody: this caller may have given it too little time."""
        with self._lock:
            is_probed, self._is_probed = self._is_probed, True
        if not is_probed:
            threading.Thread(target=self._probe, name=f"probe-{self.name}", daemon=True).start()

    def _probe(self) -> None:
        while not self._closed.is_set():
            why = self._remote.why_failing(revives=bool(self.failure))
            with self._lock:  # both at once, or a failure between them is never looked into
                self.failure, self._is_probed = why, bool(why)
            if not why:
                return
            self._closed.wait(PROBE_S)

    def _free(self, sequence: KVSequence) -> None:
        with self._lock:
            super().free(sequence)


@dataclass(slots=True)
class _Step:
    """Asks for more of the distribution after `ids` of a sequence; see `Ask`.

    Attributes:
        seconds: that the member was waited for in this step.
    """

    member: RemoteMember
    sequence: KVSequence
    ids: list[int]
    seconds: float

    def more(self, num: int) -> Told:
        return self.member.ask_again(self, lambda model: model.fetch_more(self.sequence, self.ids, num))

    def about(self, wanted: list[int], known: tuple[int, float]) -> list[float] | None:
        return self.member.ask_again(self, lambda model: model.fetch_logprobs(self.sequence, self.ids, wanted, known))
