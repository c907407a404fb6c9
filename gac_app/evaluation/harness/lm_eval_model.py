"""An ensemble as a model of the lm-evaluation-harness: `--model gac`. The only module that imports `lm_eval`.

The log-likelihood of a string under an ensemble is defined in `decoding.scoring`:

- a member alone: along its tokeniser's own spelling of the continuation;
- alignment `prefix`: of the bytes, under the mixture of the members as distributions over byte strings. The
  probabilities of all texts of one length in bytes, and of the shorter ones that end, sum to one, apart from unusual
  spellings that are left out;
- alignment `paper`: of the likeliest sequence of union tokens among those tried, a lower bound: an ensemble may write
  the same text by several sequences.

A request's context is a raw document; each member decides whether it begins with BOS. An empty context is the beginning
of a document. With a chat template (`--apply_chat_template`) a context is a chat, and every member uses its own
template.
"""

from __future__ import annotations

import importlib
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from typing import TYPE_CHECKING, Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

from gac_app.config import MAX_PROMPT_CHARS
from gac_app.decoding.trace import Event, FinishedEvent, FinishReason, TokenEvent
from gac_app.errors import GacError, RequestError
from gac_app.evaluation.running import parse_system, refuse_rules
from gac_app.models.message import Message
from gac_app.settings import SAMPLING, Settings

if TYPE_CHECKING:
    from gac_app.decoding.ensemble import Ensemble
    from gac_app.decoding.scoring import Score

logger = logging.getLogger(__name__)

_CHAT_MARK = "\0gac-chat:"  # begins a string that stands for a chat; no document begins like this
_ROLES = {"system", "user", "assistant"}
CONVENTIONS = ("bytes", "hf")
_MAX_GEN_TOKS = 256  # the harness's own default


class EnsembleLM(LM):  # type: ignore[misc]
    """Answers the harness's three kinds of requests by one system.

    Args:
        ensemble: closed by the caller.
        system: the system that answers, named as for `eval`: `every-step`, `gate@0.5+paper`, `alone:MEMBER`.
        batch_size: requests at once; they share forward passes.
        max_gen_toks: longest answer if a task does not say.
        convention: bytes, or hf: as by the harness's own models, spaces at a context's end count to the continuation.

    Raises:
        RequestError: there is no such system or convention.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        system: str = "every-step",
        batch_size: int | str = 1,
        max_gen_toks: int = _MAX_GEN_TOKS,
        convention: str = "bytes",
        **_unused: Any,  # device, max_batch_size: the configuration places members
    ) -> None:
        super().__init__()
        if convention not in CONVENTIONS:
            raise RequestError("convention", f"unknown convention {convention!r}; expected {' or '.join(CONVENTIONS)}")
        self._moves_spaces = convention == "hf"
        self._ensemble = ensemble
        self._system = parse_system(system, ensemble.config)
        refuse_rules([self._system])
        for warning in self._system.without_effect(ensemble.config):
            logger.warning("%s: %s", system, warning)
        self._num_parallel = _whole(batch_size, "batch_size")
        self._max_gen_toks = _whole(max_gen_toks, "max_gen_toks")

    # --- the three kinds of requests

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Per (context, continuation): log-likelihood in nats, and whether greedy decoding would write it."""
        wanted: dict[str, list[str]] = {}
        pairs = [self._pair(*request.args) for request in requests]
        for context, continuation in pairs:
            wanted.setdefault(context, []).append(continuation)
        found = dict(zip(wanted, self._map(self._judge, list(wanted.items())), strict=True))
        told = [(request, found[pair[0]][pair[1]]) for request, pair in zip(requests, pairs, strict=True)]
        return self._given(told, "loglikelihood")

    def _pair(self, context: str, continuation: str) -> tuple[str, str]:
        kept = context.rstrip()
        is_kept = not self._moves_spaces or not kept or context.startswith(_CHAT_MARK)
        return (context, continuation) if is_kept else (kept, context[len(kept) :] + continuation)

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Per (text,): its log-likelihood from the beginning of a document on, in nats.

        A text longer than a context is cut into windows of half a context, each read after the previous one.
        """
        texts = [request.args[0] for request in requests]
        return self._given(list(zip(requests, self._map(self._roll, texts), strict=True)), "loglikelihood_rolling")

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Per (context, options): the answer, cut before any of `until`. Repeats of a request draw by other seeds."""
        repeats = defaultdict[int, Iterator[int]](count)
        answers = self._map(self._write, [(*request.args, next(repeats[id(request)])) for request in requests])
        return self._given(list(zip(requests, answers, strict=True)), "generate_until")

    # --- chats

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """A chat as one string, which `_prompt` parses again: each member has its own template."""
        if not add_generation_prompt:
            raise GacError("a task's beginning of the answer (gen_prefix) is not supported in a chat")
        return _CHAT_MARK + json.dumps(chat_history)

    @property
    def tokenizer_name(self) -> str:
        """Identifies the templates in the harness's cache of requests."""
        return "gac-" + "-".join(self._ensemble.members)

    # --- one request

    def _judge(self, item: tuple[str, list[str]]) -> dict[str, tuple[float, bool]]:
        context, continuations = item
        scores = self._score(context, continuations, self._settings())
        greedy = self._greedy(context, continuations)
        return {
            text: (score.log_prob, greedy.startswith(text)) for text, score in zip(continuations, scores, strict=True)
        }

    def _greedy(self, context: str, continuations: Sequence[str]) -> str:
        """Greedy decoding's text, until none of `continuations` is possible any more."""
        longest = max(len(text.encode()) for text in continuations)
        if not context or not longest:
            return ""
        text = ""
        with closing(self._events(context, self._settings(max_new_tokens=longest, stop=()))) as events:
            for event in events:
                _check_finish(event)
                text += event.text if isinstance(event, TokenEvent) else ""
                if not any(len(text) < len(wanted) and wanted.startswith(text) for wanted in continuations):
                    break
        return text

    def _roll(self, text: str) -> float:
        settings, log_prob, before = self._settings(), 0.0, ""
        for window in self._windows(text):
            log_prob += self._score(before, [window], settings)[0].log_prob
            before = window
        return log_prob

    def _windows(self, text: str) -> Iterator[str]:
        """Pieces of `text`; two of them fit every member's context."""
        members = self._ensemble.members.values()
        while text:
            end = len(text)
            while end > 1 and (
                end > MAX_PROMPT_CHARS
                or any(len(m.encode(text[:end])) > m.model.context_length // 2 - 1 for m in members)
            ):
                end //= 2
            yield text[:end]
            text = text[end:]

    def _write(self, arguments: tuple[str, dict[str, Any], int]) -> str:
        context, options, repeat = arguments
        until = options.get("until") or []
        changes: dict[str, Any] = {
            "max_new_tokens": options.get("max_gen_toks") or options.get("max_new_tokens") or self._max_gen_toks,
            "stop": [until] if isinstance(until, str) else list(until),
        }
        if options.get("do_sample", True):  # the harness's default is greedy
            changes |= {name: options[name] for name in SAMPLING if options.get(name) is not None}
        settings = self._settings(**{**changes, **self._system.changes})
        *_, finished = self._events(context, settings.model_copy(update={"seed": settings.seed + repeat}))
        assert isinstance(finished, FinishedEvent)  # noqa: S101 (every session ends with it)
        _check_finish(finished)
        return finished.text

    # --- the ensemble

    def _settings(self, **changes: Any) -> Settings:
        return self._system.settings(self._ensemble.config, **{"temperature": 0.0, **changes})

    def _score(self, context: str, continuations: Sequence[str], settings: Settings) -> list[Score]:
        prompt = _prompt(context)
        is_raw = isinstance(prompt, str)
        return self._ensemble.score(prompt, continuations, settings, alone=self._system.alone, raw=is_raw)

    def _events(self, context: str, settings: Settings) -> Any:
        prompt = _prompt(context)
        return self._ensemble.generate(prompt, settings, alone=self._system.alone, raw=isinstance(prompt, str))

    def _map(self, answer: Callable[[Any], Any], requests: Sequence[Any]) -> list[Any]:
        with ThreadPoolExecutor(self._num_parallel, thread_name_prefix="lm-eval") as pool:
            return list(pool.map(answer, requests))

    def _given(self, answers: list[tuple[Instance, Any]], kind: str) -> list[Any]:
        """The answers, added to the harness's cache."""
        for request, answer in answers:
            self.cache_hook.add_partial(kind, request.args, answer)
        return [answer for _, answer in answers]


def register(load: Callable[[str | None], Ensemble]) -> None:
    """Register `--model gac` with the harness in this process.

    Args:
        load: gives the ensemble of a configuration file; None = the default one.
    """

    class Configured(EnsembleLM):
        """`EnsembleLM` made from `--model_args`: a configuration file, a system, `max_gen_toks`."""

        def __init__(self, config: str | None = None, **options: Any) -> None:
            super().__init__(load(config), **options)

    importlib.import_module("lm_eval.models")  # registers the harness's own, such as hf
    register_model("gac")(Configured)


def _check_finish(event: Event) -> None:
    """Raise GacError if a session failed."""
    if isinstance(event, FinishedEvent) and event.reason is FinishReason.ERROR:
        raise GacError(event.detail)


def _prompt(context: str) -> str | list[Message]:
    """The prompt of a context: a document, or a chat in the form of `apply_chat_template`."""
    if not context.startswith(_CHAT_MARK):
        return context
    history = json.loads(context.removeprefix(_CHAT_MARK))
    if any(message["role"] not in _ROLES for message in history):
        raise RequestError("chat", f"expected roles {', '.join(sorted(_ROLES))}")
    return [Message(message["role"], message["content"]) for message in history]


def _whole(value: Any, name: str) -> int:
    if not str(value).isdecimal() or int(value) < 1:
        raise RequestError(name, f"expected a whole number of at least 1; got {value!r}")
    return int(value)
