"""`Ensemble`: the members, their union vocabulary and the sessions over them."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from typing import Any, Unpack

from gac_app.config import Config
from gac_app.decoding.contexts import MemberContext
from gac_app.decoding.loop import Branch, DecodingSession
from gac_app.decoding.member import Member
from gac_app.decoding.request import Encoded, How, Request, Requests, document_ids, encoded
from gac_app.decoding.rules import combine_rules, draws_one, weight_rules
from gac_app.decoding.rules.answer import AnswerRules, StepRules
from gac_app.decoding.rules.combiner import Combiner
from gac_app.decoding.rules.gate import Gate, make_gate
from gac_app.decoding.rules.sampling import Sampler
from gac_app.decoding.rules.weights import StepWeights
from gac_app.decoding.scoring import (
    FEW_AT_ONCE,
    ReadPrompt,
    Score,
    Scorer,
    SingleFlightCache,
    TokenScore,
    bits_per_byte,
    score_ids,
)
from gac_app.decoding.speculation import Speculator, drafts_tokens
from gac_app.decoding.tokenizer import document_start
from gac_app.decoding.trace import Event
from gac_app.errors import Phrase, RequestError
from gac_app.models.message import Message
from gac_app.models.sequence import LOCAL, Share
from gac_app.settings import Settings
from gac_app.vocab.tokens import bytes_of


class Ensemble(Requests):
    """Members that share one union vocabulary.

    Args:
        devices_disjoint: no two members share a GPU or a core (see `Plan`).

    Example:
        >>> for event in ensemble.generate("Name three colours.", settings):
        ...     if isinstance(event, TokenEvent):
        ...         print(event.text, end="", flush=True)
    """

    def __init__(self, members: Sequence[Member], config: Config, *, devices_disjoint: bool = True) -> None:
        super().__init__(members, config)
        self.devices_disjoint = devices_disjoint
        self._read_texts = SingleFlightCache()

    @property
    def engines(self) -> tuple[str, ...]:
        """Each member's engine: library, kind of device, precision."""
        return tuple(member.model.engine for member in self.members.values())

    def generate(
        self,
        prompt: str | Sequence[Message],
        settings: Settings | None = None,
        *,
        namespace: str = "",
        share: Share = LOCAL,
        **how: Unpack[How],
    ) -> Generator[Event, None, None]:
        """Decode an answer: token events as they are decoded, then one finished event.

        Args:
            prompt: one user message, or a whole chat.
            settings: how to decode; None = the configuration's.
            namespace, share: see `session`.

        Raises:
            RequestError: prompt or settings do not fit.
        """
        return self.session(prompt, settings, namespace=namespace, share=share, **how).events()

    def session(
        self,
        prompt: str | Sequence[Message],
        settings: Settings | None = None,
        *,
        branch: Branch | None = None,
        namespace: str = "",
        share: Share = LOCAL,
        **how: Unpack[How],
    ) -> DecodingSession:
        """A new session; see `generate`. It holds a sequence in each member until its events end.

        Args:
            namespace: sessions of one namespace, a conversation, share the prefix cache until `forget`.
            share: names whose sessions get equal parts of the members' time, the outermost level first.
        """
        request = self.request(prompt, settings, **how)
        return self.open(request, share, branch=branch, namespace=namespace)

    def open(
        self,
        request: Request,
        share: Share,
        *,
        branch: Branch | None = None,
        namespace: str = "",
        stopped: threading.Event | None = None,
    ) -> DecodingSession:
        """A new session over a request; see `session`. Setting `stopped` stops it, too."""
        settings, members, stopped = self._with_policy(request.settings), request.members, stopped or threading.Event()
        sampler = Sampler(settings, request.schema and request.schema.fork(), request.bias)
        step = self._rules(request, share, stopped)
        rules = AnswerRules(step.gate, step.combiner, step.weights, settings, sampler, stopped)
        is_fixed = _is_reproducible(members, settings)
        # A member alone has nothing to align with: it decodes as its own library does.
        is_one = len(members) == 1
        new_context = partial(
            MemberContext,
            is_aligned=settings.alignment == "prefix" and not is_one,
            speculate_when_idle=settings.gate_policy == "auto" and settings.reads_along,
        )
        contexts: list[MemberContext] = []
        with ExitStack() as opened:  # where one has no room, it closes the others
            for member, ids in zip(members, request.ids, strict=True):
                sequence = member.open(ids, share, namespace, is_reproducible=is_fixed)
                sequence.timeout_s, sequence.stopped = settings.step_timeout_s, rules.stopped
                contexts.append(new_context(member, sequence))
                opened.callback(contexts[-1].close)
            opened.pop_all()
        stop_strings = tuple(dict.fromkeys((*settings.stop, *request.chat_stop_strings)))
        is_drafting = drafts_tokens(members, settings, devices_disjoint=self.devices_disjoint)
        speculator = Speculator(contexts, rules, is_drafting=is_drafting)
        is_reproducible = is_fixed and all(member.model.can_be_reproducible for member in members)
        return DecodingSession(contexts, rules, speculator, stop_strings, branch, is_reproducible)

    def score(
        self,
        prompt: str | Sequence[Message],
        continuations: Iterable[str],
        settings: Settings | None = None,
        *,
        namespace: str = "",
        share: Share = LOCAL,
        **how: Unpack[How],
    ) -> list[Score]:
        """The probability of each of `continuations` after `prompt`; for its meaning see `scoring`.

        Arguments are those of `generate`. The prompt is read once for all, and recently scored texts are not read again
        for other settings in the same namespace. An empty raw prompt is the beginning of a document.

        Raises:
            RequestError: prompt or settings do not fit.
            VocabularyError: a member has no tokens for a continuation.
            MemberError, RuleError: a member or a rule fails.
        """
        request = self.request(prompt, settings, may_be_empty=True, **how)
        settings, members = request.settings, request.members
        rules = self._rules_along(request, share)
        with closing(_read_prompt(members, request.ids, settings, share, namespace=namespace)) as read:
            scorer = Scorer(read, rules, settings, self._read_texts)
            return [scorer.score(bytes_of(text)) for text in continuations]

    def score_prompt(
        self,
        request: Request,
        ids: Sequence[int],
        share: Share,
        *,
        num_top: int,
        namespace: str,
        stopped: threading.Event,
    ) -> list[TokenScore]:
        """How probable each token of a document is; see `scoring`.

        Args:
            request: from `raw_request`.
            ids: of the document, by `tokenizer(request.alone)`.
            num_top: likely tokens told at each place.

        Raises:
            SessionStopped: soon after `stopped` is set.
            MemberError, RuleError: a member or a rule fails.
        """
        settings, members = request.settings, request.members
        prompt_of = partial(
            _read_prompt, members, settings=settings, share=share, stopped=stopped, ids_at_once=FEW_AT_ONCE
        )
        if request.alone is not None:
            with closing(prompt_of([list(ids[:1])], namespace=namespace)) as read:
                return score_ids(read, ids, num_top)
        rules = self._rules_along(request, share, stopped)
        first = self.union.token(ids[0]) if ids else b""
        with closing(prompt_of([document_ids(member, first) for member in members])) as read:
            scores = Scorer(read, rules, settings, self._read_texts).tokens(ids[1:], num_top)
            return [TokenScore(first, None)][: len(ids)] + scores

    def check_room(self, prompt: Sequence[Message], num_new: int, known: Encoded) -> None:
        """Raise RequestError unless every member has room for `prompt` and `num_new` tokens, or half its context if
        that is less. The message fits all members, and names none. `known`: see `request`.
        """
        for member in self.members.values():
            room = member.model.context_length - min(num_new, member.model.context_length // 2)
            if len(encoded(member, list(prompt), known)) > room:
                raise RequestError(
                    "prompt",
                    Phrase("The prompt and the turns before it are too long. Shorten it, or begin a new conversation."),
                )

    def check_branch(self, branch: Branch) -> None:
        """Raise RequestError if today's members lack a token of `branch`."""
        for token in (*(step.token for step in branch.steps), branch.token):
            if token and token not in self.union.ids:
                raise RequestError("branch", "this answer has tokens that today's members do not know")

    def forget(self, namespace: str) -> None:
        """Drop this namespace, and those below it ("a" of "a/b"), from the members' prefix caches."""
        for member in self.members.values():
            member.forget(namespace)

    def close(self) -> None:
        """Release the members' models."""
        for member in self.members.values():
            member.close()

    def _rules(self, request: Request, share: Share, stopped: threading.Event | None) -> StepRules:
        """At the start of a text. `share`: in which a rule that needs it reads the prompt."""
        settings, members = request.settings, request.members

        def prompt_bits(name: str) -> float:
            member = self.members[name]
            start = [document_start(member)]
            with closing(_read_prompt([member], start, settings, share, stopped=stopped)) as read:
                return bits_per_byte(read, request.text)

        mappings = {member.name: member.mapping for member in members}
        return StepRules(
            Gate() if request.alone else make_gate(settings),
            Combiner(combine_rules.of(settings), mappings, draws_one=draws_one(settings)),
            StepWeights(self.config.weights(settings), weight_rules.of(settings), prompt_bits),
        )

    def _rules_along(self, request: Request, share: Share, stopped: threading.Event | None = None) -> StepRules:
        """The rules of given texts. One that needs the prompt reads it before texts take sequences."""
        request.check_can_score()
        rules, names = self._rules(request, share, stopped), [member.name for member in request.members]
        if len(names) > 1:
            rules.weights.prepare(names)
        return rules

    def _with_policy(self, settings: Settings) -> Settings:
        """Where members share a GPU or a core, none of them is idle while another computes."""
        is_changed = not self.devices_disjoint and settings.gate_policy == "auto"
        return settings.model_copy(update={"gate_policy": "lazy"}) if is_changed else settings


def _read_prompt(
    members: list[Member], ids: list[list[int]], settings: Settings, share: Share, **how: Any
) -> ReadPrompt:
    is_fixed = _is_reproducible(members, settings)
    return ReadPrompt(members, ids, settings.step_timeout_s, share, is_reproducible=is_fixed, **how)


def _is_reproducible(members: list[Member], settings: Settings) -> bool:
    if settings.reproducible == "auto":
        return all(member.model.is_batch_invariant for member in members)
    return settings.reproducible == "on"
