"""What all inference servers have alike: JSON over HTTP, what failures mean, and whose model they have."""

from __future__ import annotations

import json
import time
from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx
import orjson

from gac_app.member_config import ServerConfig
from gac_app.models.remote.engine import ANSWER_S, AbsentError, BusyError, Engine, RefusedError, ServerError
from gac_app.vocab.tokens import MemberVocabulary

T = TypeVar("T")

_FACTS = ("id", "root", "max_model_len")  # that a server tells of a model
# Read by the server's tokeniser and by ours: words, digits, spaces, marks, other scripts.
PROBE = "The quick brown fox, 1234 times:\n    def f(x): return x  # naïve café 日本語 русский"
_CONNECT_S = 5.0
_MOST_BYTES = 256_000_000  # of an answer; a whole vocabulary of 262,144 tokens takes 25 MB
_MOST_TEXT = 200  # characters of a server's own message
_BUSY = (429, 500, 502, 503, 504)  # it, or a proxy before it, may answer the same question later


class Server(Engine):
    """One inference server."""

    def __init__(self, config: ServerConfig, key: str) -> None:
        self.url, self._model = config.url, config.model
        self._client = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
            trust_env=False,  # a proxy of the environment is not meant for it
        )

    def use(self, vocabulary: MemberVocabulary) -> None:
        super().use(vocabulary)
        # Some tokenisers put a space before every text. `encode` leaves it out, servers do not.
        if self.tokenize(PROBE) not in (vocabulary.encode(PROBE), vocabulary.encode(f" {PROBE}")):
            raise ServerError(
                f"{self.url} reads a text as other tokens than the member's files: "
                "`source` should name the files of the model there"
            )

    @abstractmethod
    def tokenize(self, text: str) -> list[int]:
        """The server's ids of a text without control tokens. Raises ServerError."""

    def identity(self) -> str:
        """What the server says of its model; another text means another model. Raises ServerError."""
        return self._of_model(lambda entry: json.dumps([entry.get(key) for key in _FACTS]))

    def _of_model(self, take: Callable[[Any], T]) -> T:
        """What `take` finds in the server's entry of the model: the one of the configuration's name, or the first one.

        Raises:
            ServerError.
        """

        def find(answer: Any) -> T:
            return take(next(one for one in answer["data"] if not self._model or one["id"] == self._model))

        return self.ask("/v1/models", None, find)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(self, path: str, body: dict[str, Any] | None, take: Callable[[Any], T], wait_s: float = ANSWER_S) -> T:
        """What `take` finds in the answer to a question, which is a POST if it has a body. Raises ServerError."""
        for is_last in (False, True):  # a kept connection may have been closed meanwhile
            try:
                answer = self._answer("GET" if body is None else "POST", path, body, wait_s)
                break
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
                if is_last:
                    raise AbsentError(f"{self.url} broke the connection off: see its log") from error
            except httpx.TimeoutException as error:
                raise AbsentError(f"{self.url} gave no answer in time: is it overloaded?") from error
            except httpx.HTTPError as error:
                raise AbsentError(f"{self.url} cannot be reached: {error}; is the server running there?") from error
        try:
            return take(answer)
        except (LookupError, TypeError, ValueError, AttributeError, StopIteration) as error:
            raise ServerError(
                f"{self.url}{path} answered something unexpected: {error!r}; is it what `api` says?"
            ) from error

    def _answer(self, method: str, path: str, body: dict[str, Any] | None, wait_s: float) -> Any:
        until, data, timeout = time.monotonic() + wait_s, bytearray(), httpx.Timeout(wait_s, connect=_CONNECT_S)
        with self._client.stream(method, path, json=body, timeout=timeout) as response:
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) > _MOST_BYTES or time.monotonic() > until:
                    raise ServerError(f"{self.url}{path} sends an answer without end: is it what `api` says?")
        if response.is_error:
            said = f"{self.url}{path} answered {response.status_code}: "
            said += " ".join(data.decode(errors="replace").split())[:_MOST_TEXT]
            if response.status_code in _BUSY:
                raise BusyError(said, _after_s(response.headers.get("Retry-After", "")))
            raise (RefusedError if response.status_code in (400, 413, 422) else ServerError)(said)
        try:
            return orjson.loads(data)
        except ValueError as error:
            raise ServerError(f"{self.url}{path} answered something else than JSON") from error


def _after_s(retry_after: str) -> float:
    """The seconds of this header, which is a number or a date; 0 = it is neither."""
    with suppress(ValueError):
        if retry_after.isdecimal():
            return float(retry_after)
        return parsedate_to_datetime(retry_after).timestamp() - time.time()
    return 0.0
