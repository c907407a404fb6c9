"""Models whose forward passes a server computes. Their vocabulary comes from the model's own files.

A server tells the likeliest tokens. The probability of all others is known, but not how it is divided. A decoder asks
for as many as its choice needs (`read_partial`, `fetch_more`, `fetch_logprobs`). Whoever wants logits gets equal shares
for the others: more tokens are asked for until these have at most `MAX_UNSEEN_MASS`, or the server tells no more.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import torch

from gac_app.errors import MemberError, ModelLoadError
from gac_app.member_config import ServerConfig
from gac_app.models.backends import LoadRequest
from gac_app.models.base import Model
from gac_app.models.hf import TokenizedModel
from gac_app.models.llama_cpp.gguf_model import DescribedGguf
from gac_app.models.remote.engine import AbsentError, BusyError, Engine, RefusedError, ServerError, TopLogprobs
from gac_app.models.remote.servers import connect
from gac_app.models.remote.transport import PROBE
from gac_app.models.sequence import ForwardRequest, KVSequence

T = TypeVar("T")

MAX_UNSEEN_MASS = 0.01
_TIMES_MORE = 16
_PAUSE_S = 0.1  # before a busy server is asked again; twice as long each time
_PROBE_WAIT_S = 10.0  # for the next token, from a server that failed
_ROUNDING = 0.01
_NOTHING = -1e4  # a logit that gives the probability 0


class RemoteModel(Model):
    """The part of such a model that asks its server. It keeps no cache: an engine is told all ids each time.

    `forward` may be called from several threads at once.
    """

    can_be_reproducible = False  # the engine chooses chunks and batches
    _server: Engine
    _num_asked: int
    _most_told: int  # tokens, as far as is known; more are refused
    _identity: str  # of the model there
    _most_wanted = 1_000_000  # single tokens, as far as is known; more are refused

    def forward(self, requests: list[ForwardRequest]) -> list[torch.Tensor]:
        return [torch.stack([self._logits_V(one.sequence, ids) for ids in _contexts(one)]) for one in requests]

    def read_partial(self, request: ForwardRequest) -> list[TopLogprobs]:
        """In place of `Model.read`: the likeliest tokens after the last `num_logits` ids each. Raises MemberError."""
        self.check_length(request.ids)
        sequence = request.sequence
        if not sequence.ids and (why := self._patiently(sequence, lambda _: self._why_another())):
            raise self._failed(why)
        steps = [partial(self._server.step, sequence.slot, ids, self._num_asked) for ids in _contexts(request)]
        told = [self._patiently(sequence, step) for step in steps]
        sequence.ids = request.ids
        return told

    def fetch_more(self, sequence: KVSequence, ids: list[int], num: int) -> TopLogprobs:
        """The `num` likeliest tokens after these ids of a sequence; fewer, or none, where the server tells no more.

        Raises:
            MemberError: the server fails.
        """
        num = min(num, len(self.vocabulary))
        if num <= self._most_told:
            try:
                ask = partial(self._server.next_tokens, ids, num)
                return self._patiently(sequence, ask, may_be_refused=num > self._num_asked)
            except RefusedError:
                self._most_told = num - 1
        return TopLogprobs([], [], 0.0)

    def fetch_logprobs(
        self, sequence: KVSequence, ids: list[int], wanted: list[int], known: tuple[int, float]
    ) -> list[float] | None:
        """See `Engine.logprobs_of`. Raises MemberError."""
        if len(wanted) > self._most_wanted:
            return None
        try:
            told = self._patiently(sequence, partial(self._server.logprobs_of, ids, wanted, known), may_be_refused=True)
        except RefusedError:  # an older version, or a limit
            self._most_wanted = len(wanted) - 1
            return None
        if told and not all(logprob <= _ROUNDING for logprob in told):
            raise self._failed(f"{self._server.url} told of no logarithms of probabilities: {told[:3]}")
        return told

    def _failed(self, why: str) -> MemberError:
        return MemberError(self.name, "exception", why)

    def _patiently(self, sequence: KVSequence, ask: Callable[[float], T], *, may_be_refused: bool = False) -> T:
        """The answer to a step's question, which is given its time. A busy server is asked again after growing pauses.

        Raises:
            MemberError: it gives none while the step waits.
            RefusedError: if it may be refused.
        """
        until, pause_s = time.monotonic() + sequence.timeout_s, _PAUSE_S
        while True:
            try:
                return ask(max(_PAUSE_S, until - time.monotonic()))
            except BusyError as busy:
                again = time.monotonic() + max(pause_s, busy.after_s)
                while time.monotonic() < again:
                    if again > until or sequence.stopped.is_set() or self._closed.wait(_PAUSE_S):
                        kind = "timeout" if sequence.stopped.is_set() else "exception"  # a stop is no failure
                        raise MemberError(self.name, kind, str(busy)) from busy
                pause_s *= 2
            except ServerError as error:
                if may_be_refused and isinstance(error, RefusedError):
                    raise
                raise self._failed(str(error)) from error

    def _why_another(self) -> str:
        """The message if the server has another model than at the start; else empty. Raises ServerError."""
        if (now := self._server.identity()) == self._identity:
            return ""
        what = f"{self._server.url} has another model than when this program started ({now}, not {self._identity})"
        return f"{what}: load that model there, or start this program again"

    def _logits_V(self, sequence: KVSequence, ids: list[int]) -> torch.Tensor:
        num, size = self._num_asked, len(self.vocabulary)
        more = top = self.fetch_more(sequence, ids, num)
        while more.ids and _unseen_mass(top) > MAX_UNSEEN_MASS and len(top.ids) >= num < size:
            num = min(_TIMES_MORE * num, size)
            more = self.fetch_more(sequence, ids, num)
            top = more if more.ids else top
        unseen_mass, num_others = _unseen_mass(top), size - len(top.ids)
        rest = math.log(unseen_mass / num_others) if unseen_mass > 0 and num_others else _NOTHING
        logits_V = torch.full((size,), rest)
        logits_V[top.ids] = torch.tensor(top.logprobs)
        return logits_V

    def new_sequence(self) -> KVSequence:
        """There is always room, while stopped sequences wait for their last answers too: runs are queued elsewhere."""
        if not self._free_slots:
            self._free_slots.append(len(self._num_cached))
        return super().new_sequence()

    def truncate(self, slot: int, length: int) -> None:
        """Nothing is kept here. What an engine keeps beyond `length` ids, it drops when it is asked."""
        if not length:
            self._server.end(slot)

    def copy(self, slot: int, other: int, length: int) -> None:
        """Nothing is kept here."""

    def close(self) -> None:
        self._closed.set()
        self._server.close()
        super().close()

    def why_failing(self, *, revives: bool = True) -> str:
        """Ask one thing. Why that fails; empty = it does not.

        Args:
            revives: an engine that has died is started again before, which may take minutes.
        """
        try:
            if revives:
                self._server.revive()
            self._server.next_tokens([0], self._num_asked, _PROBE_WAIT_S)
            return self._why_another()
        except ServerError as error:
            return str(error)

    def use(self, engine: Engine, num_asked: int) -> None:
        """Take the engine, which is asked for so many tokens first. Raises ServerError."""
        engine.use(self.vocabulary)
        self._closed = threading.Event()
        self._server, self._num_asked = engine, min(num_asked, len(self.vocabulary))
        self._most_told, self._identity = len(self.vocabulary), engine.identity()
        self.context_length = min(self.context_length, engine.context_length())
        self.device = torch.device("cpu")  # the model has no weights, and is on none
        engine.next_tokens(self.encode_raw(PROBE), self._num_asked)


class RemoteGguf(RemoteModel, DescribedGguf):
    """One whose vocabulary is in a GGUF file."""


class RemoteTransformers(RemoteModel, TokenizedModel):
    """One whose tokeniser and configuration are in a directory, as transformers saves them."""


def load_remote(request: LoadRequest, config: ServerConfig) -> RemoteModel:
    """A member that a server computes.

    Raises:
        ModelLoadError: the server cannot be reached or has another model, or the files cannot be used.
    """
    server = connect(config)
    try:
        model: RemoteModel = without_weights(request, RemoteGguf, RemoteTransformers)
        _use_once_there(model, server, request, config.top_logprobs)
        model.engine = f"{config.api} {server.url}"
    except BaseException as error:
        server.close()
        if isinstance(error, ServerError):
            raise ModelLoadError(f"{request.member.name}: {error}") from error
        raise
    return model


def without_weights(request: LoadRequest, of_gguf: Callable[..., T], of_transformers: Callable[..., T]) -> T:
    """A member's model that is computed elsewhere: tokeniser and chat layout of its files. Raises ModelLoadError.

    Args:
        of_gguf, of_transformers: subclasses of `DescribedGguf` and `TokenizedModel`.
    """
    member, files = request.member, request.fetch()
    if files.kind == "gguf":
        return of_gguf(member.name, files.path, **member.model_options)
    from gac_app.models.hf.loading import described

    return of_transformers(member.name, *described(member, files.path), **member.model_options)


def _use_once_there(model: RemoteModel, server: Engine, request: LoadRequest, num_asked: int) -> None:
    """Take the server, waiting for it as long as whoever loads wants to. Raises ServerError."""
    while True:
        try:
            return model.use(server, num_asked)
        except AbsentError as error:
            if not request.wait(f"{error}; it is asked again until it answers"):
                raise


def _contexts(request: ForwardRequest) -> list[list[int]]:
    """The ids before each of the wanted distributions."""
    ids = list(request.ids)
    return [ids[:end] for end in range(len(ids) - request.num_logits + 1, len(ids) + 1)]


def _unseen_mass(top: TopLogprobs) -> float:
    """The probability of all other tokens."""
    return max(0.0, 1 - math.fsum(map(math.exp, top.logprobs)))
