"""Models whose forward passes a server computes. Their vocabulary comes from the model's own files.

A server tells the likeliest tokens. The probability of all others is known, but not how it is divided: they get equal
shares of it. More tokens are asked for until it is at most `MOST_UNKNOWN`, or the server tells no more.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Unpack

import torch

from gac_app.errors import MemberError, ModelLoadError
from gac_app.member_config import ServerConfig
from gac_app.models.backends import LoadRequest
from gac_app.models.base import Model, Read
from gac_app.models.hf import TokenizedModel, described
from gac_app.models.llama_cpp.gguf_model import GgufModel, GgufOptions
from gac_app.models.llama_cpp.library import load_weights
from gac_app.models.remote.servers import Server, ServerError, TopLogprobs, connect

MOST_UNKNOWN = 0.01
_TIMES_MORE = 16
_NOTHING = -1e4  # a logit that gives the probability 0
# Read by the server's tokeniser and by ours: words, digits, spaces, marks, other scripts.
_PROBE = "The quick brown fox, 1234 times:\n    def f(x): return x  # naïve café 日本語 русский"


class RemoteModel(Model):
    """The part of such a model that asks its server. It keeps no cache: a server is told all ids each time.

    `forward` may be called from several threads at once.
    """

    _server: Server
    _num_asked: int

    def forward(self, reads: list[Read]) -> list[torch.Tensor]:
        return [self._logits_NV(read) for read in reads]

    def _logits_NV(self, read: Read) -> torch.Tensor:
        ids = read.sequence.ids
        ends = range(len(ids) - read.num_logits + 1, len(ids) + 1)
        return torch.stack([self._logits_V(ids[:end]) for end in ends])

    def _logits_V(self, ids: list[int]) -> torch.Tensor:
        try:
            top = self._top_of(ids)
        except ServerError as error:
            raise MemberError(self.name, "exception", str(error)) from error
        unknown, num_others = _unknown(top), len(self.vocabulary) - len(top.ids)
        rest = math.log(unknown / num_others) if unknown > 0 and num_others else _NOTHING
        logits_V = torch.full((len(self.vocabulary),), rest)
        logits_V[top.ids] = torch.tensor(top.logprobs)
        return logits_V

    def _top_of(self, ids: list[int]) -> TopLogprobs:
        num, size = min(self._num_asked, len(self.vocabulary)), len(self.vocabulary)
        top = self._asked(ids, num)
        while _unknown(top) > MOST_UNKNOWN and len(top.ids) >= num < size:
            num = min(_TIMES_MORE * num, size)
            try:
                top = self._asked(ids, num)
            except ServerError:  # mostly its limit
                break
        return top

    def _asked(self, ids: list[int], num: int) -> TopLogprobs:
        top = self._server.next_tokens(ids, num)
        if outside := [own for own in top.ids if not 0 <= own < len(self.vocabulary)]:
            size = len(self.vocabulary)
            raise ServerError(
                f"{self._server.url} told of the id {outside[0]:,}, and its tokeniser has {size:,} tokens"
            )
        return top

    def truncate(self, slot: int, length: int) -> None:
        """Nothing is kept here."""

    def copy(self, slot: int, other: int, length: int) -> None:
        """Nothing is kept here."""

    def close(self) -> None:
        self._server.close()

    def why_failing(self) -> str:
        """Ask one thing. Why that fails; empty = it does not."""
        try:
            self._asked([0], self._num_asked)
        except ServerError as error:
            return str(error)
        return ""

    def use(self, server: Server, config: ServerConfig) -> None:
        """Take the server, if it has this model. Raises ServerError."""
        self._server, self._num_asked = server, config.top_logprobs
        self.engine = f"{config.api} {server.url}"
        self.context_length = min(self.context_length, server.context_length())
        if server.tokenize(_PROBE) != self.vocabulary.encode(_PROBE):
            raise ServerError(
                f"{server.url} reads a text as other tokens than the member's files: is it another model?"
            )
        self._asked(self.encode_raw(_PROBE), self._num_asked)


class RemoteGguf(RemoteModel, GgufModel):
    """One whose vocabulary is in a GGUF file."""

    def __init__(self, name: str, path: Path, **options: Unpack[GgufOptions]) -> None:
        self._described = load_weights(path, vocab_only=True)
        super().__init__(name, self._described, **options)

    def close(self) -> None:
        super().close()
        self._lib.llama_model_free(self._described)


class RemoteTransformers(RemoteModel, TokenizedModel):
    """One whose tokeniser and configuration are in a directory, as transformers saves them."""

    def __init__(self, name: str, model: Any, tokenizer: Any, **options: Any) -> None:
        super().__init__(name, model, tokenizer, **options)
        self.device = torch.device("cpu")  # the model has no weights, and is on none


def load_remote(request: LoadRequest, config: ServerConfig) -> RemoteModel:
    """A member that a server computes.

    Raises:
        ModelLoadError: the server cannot be reached or has another model, or the files cannot be used.
    """
    member, server = request.member, connect(config)
    model: RemoteModel
    try:
        files = request.fetch()
        if files.kind == "gguf":
            model = RemoteGguf(member.name, files.path, **member.model_options)
        else:
            model = RemoteTransformers(member.name, *described(member, files.path), **member.model_options)
        model.use(server, config)
    except ServerError as error:
        server.close()
        raise ModelLoadError(f"{member.name}: {error}") from error
    except BaseException:
        server.close()
        raise
    return model


def _unknown(top: TopLogprobs) -> float:
    """The probability of all other tokens."""
    return max(0.0, 1 - math.fsum(map(math.exp, top.logprobs)))
