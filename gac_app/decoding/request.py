"""A request, checked and tokenised once: who takes part, with which settings, and what each member reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

from gac_app.config import MAX_PROMPT_CHARS, Config
from gac_app.decoding.constraints import Grammars, SchemaConstraint, TokenBias
from gac_app.decoding.member import Member, Prompt
from gac_app.decoding.rules import check_rules, combine_rules
from gac_app.decoding.tokenizer import MemberTokenizer, Tokenizer, UnionTokenizer, document_start
from gac_app.errors import Phrase, RequestError, TooLongError, too_long
from gac_app.models.message import Message
from gac_app.settings import Settings
from gac_app.vocab.union import UnionVocabulary

Encoded = dict[tuple[str, str | tuple[Message, ...]], list[int]]  # a member's name and a prompt -> its ids


class How(TypedDict, total=False):
    """Who answers, and how the prompt is read.

    Attributes:
        alone: the member that answers alone; None, the default, is the ensemble.
        raw: the prompt is a string, fed without a chat template as the start of a document.
    """

    alone: str | None
    raw: bool


@dataclass(frozen=True, slots=True)
class Request:
    """A request that fits these members.

    Attributes:
        alone: the member that answers alone; None = the ensemble.
        members: those taking part, the gate first if it takes part.
        prompt: a chat with its system prompt, or a raw document.
        ids: the prompt in each member's own ids.
        schema, bias: the constraints of an answer that has yet to begin; the schema's is to be forked.
    """

    settings: Settings
    alone: str | None
    members: list[Member]
    prompt: Prompt
    ids: list[list[int]]
    schema: SchemaConstraint | None = None
    bias: TokenBias | None = None

    @property
    def text(self) -> str:
        """The prompt's text, without its roles."""
        return _text_of(self.prompt)

    @property
    def chat_stop_strings(self) -> tuple[str, ...]:
        """Where a member's layout of a chat would begin the next turn."""
        return () if isinstance(self.prompt, str) else tuple(s for m in self.members for s in m.model.chat_stop_strings)

    def check_can_score(self) -> None:
        """Raise RequestError if the combine rule gives most texts no probability."""
        if len(self.members) > 1 and not combine_rules.of(self.settings).can_score:
            raise RequestError("combine", f"by {self.settings.combine!r} most texts have no probability")


class Requests:
    """Members that share one union vocabulary, and the requests that fit them.

    Attributes:
        members: by name.
        config: has the default settings.
    """

    def __init__(self, members: Sequence[Member], config: Config) -> None:
        self.members = {member.name: member for member in members}
        self.config = config
        self._grammars = Grammars(self.union)

    @property
    def union(self) -> UnionVocabulary:
        return next(iter(self.members.values())).mapping.union

    def request(
        self,
        prompt: str | Sequence[Message],
        settings: Settings | None = None,
        *,
        alone: str | None = None,
        raw: bool = False,
        may_be_empty: bool = False,
        known: Encoded | None = None,
    ) -> Request:
        """What `Ensemble.open` takes: checked and tokenised, but nothing is held yet.

        Args:
            settings: None = the configuration's.
            alone, raw: see `How`.
            may_be_empty: an empty raw prompt is allowed; it is the beginning of a document.
            known: the ids of requests that were made before, so that no member tokenises a prompt twice; grows.

        Raises:
            RequestError: prompt or settings do not fit, naming the field.
        """
        settings = settings or self.config.settings
        self.config.check_settings(settings)
        check_rules(settings)
        members = self._taking_part(settings, alone)
        schema = None if settings.json_schema is None else self._grammars.of(settings.json_schema)
        bias = self._bias(settings, alone)
        if raw and may_be_empty and not prompt:
            starts = [document_start(member) for member in members]
            return Request(settings, alone, members, "", starts, schema, bias)
        prompt = _checked(prompt, settings, raw)
        known = {} if known is None else known
        ids = [list(encoded(member, prompt, known)) for member in members]
        _check_lengths(members, ids)
        return Request(settings, alone, members, prompt, ids, schema, bias)

    def raw_request(
        self,
        prompt: str | Sequence[int],
        settings: Settings,
        *,
        alone: str | None = None,
        known: Encoded | None = None,
    ) -> Request:
        """The request of a document, which may be empty, as text or as ids: of the member that answers alone, or of the
        union. `known`: see `request`; of text.

        Raises:
            RequestError: prompt or settings do not fit, naming the field.
        """
        if isinstance(prompt, str):
            return self.request(prompt, settings, alone=alone, raw=True, may_be_empty=True, known=known)
        empty = self.request("", settings, alone=alone, raw=True, may_be_empty=True)
        if not prompt:
            return empty
        members = empty.members
        data = self.tokenizer(alone).document(prompt)
        text = data.decode("utf-8", "replace")
        if alone is None and self.union.end_id in prompt[1:]:  # as the first it is the start of the document
            raise RequestError("prompt", f"{self.union.end_id} ends an answer, so no prompt can have it")
        ids = [list(prompt)] if alone is not None else [document_ids(member, data) for member in members]
        _check_lengths(members, ids)
        return replace(empty, prompt=text, ids=ids)

    def tokenizer(self, alone: str | None = None) -> Tokenizer:
        """A member's tokeniser; None = the union's."""
        return UnionTokenizer(self.union) if alone is None else MemberTokenizer(self.members[alone])

    def _bias(self, settings: Settings, alone: str | None) -> TokenBias | None:
        """Raises RequestError if it does not fit the members."""
        if not settings.logit_bias:
            return None
        tokenizer = self.tokenizer(alone)
        tokenizer.tokens(settings.logit_bias, "logit_bias")
        bias: dict[int, float] = {}
        for token_id, value in settings.logit_bias.items():
            if (in_union := tokenizer.in_union(token_id)) is not None:  # several may be one, such as all ends
                bias[in_union] = max(value, bias.get(in_union, 0.0), key=lambda one: (abs(one), one))
        return TokenBias(bias)

    def _taking_part(self, settings: Settings, alone: str | None) -> list[Member]:
        if alone is None:
            return [self.members[name] for name in self.config.asked(settings)]
        if alone not in self.members:
            raise RequestError("alone", f"{alone!r} is not a member; expected one of {', '.join(self.members)}")
        return [self.members[alone]]


def _text_of(prompt: Prompt) -> str:
    """A prompt's text, without its roles."""
    return prompt if isinstance(prompt, str) else "".join(message.content for message in prompt)


def _checked(prompt: str | Sequence[Message], settings: Settings, raw: bool) -> Prompt:
    text = _text_of(prompt)
    if not text.strip() and not (raw and text):
        raise RequestError("prompt", Phrase("Enter a prompt."))
    if len(text) > MAX_PROMPT_CHARS:
        raise RequestError("prompt", too_long(len(text), MAX_PROMPT_CHARS))
    if raw:
        if not isinstance(prompt, str):
            raise RequestError("prompt", "a raw prompt is one text, not a chat")
        return prompt
    messages = [Message("user", prompt)] if isinstance(prompt, str) else list(prompt)
    if settings.system_prompt and messages[0].role != "system":
        messages.insert(0, Message("system", settings.system_prompt))
    return messages


def encoded(member: Member, prompt: Prompt, known: Encoded) -> list[int]:
    """A member's ids of a prompt, which is tokenised if it is not known; to be copied."""
    key = member.name, prompt if isinstance(prompt, str) else tuple(prompt)
    if key not in known:
        known[key] = member.encode(prompt)
    return known[key]


def document_ids(member: Member, data: bytes) -> list[int]:
    """A member's ids of a document, which may end within a character."""
    if not data:
        return document_start(member)
    try:
        return member.encode(data.decode())
    except UnicodeDecodeError:
        return [*member.encode(""), *member.mapping.spell(data)]


def _check_lengths(members: list[Member], ids: list[list[int]]) -> None:
    for member, prompt_ids in zip(members, ids, strict=True):
        if len(prompt_ids) >= member.model.context_length:
            raise TooLongError(
                "prompt",
                f"is {len(prompt_ids):,} tokens long for {member.name}, whose context holds "
                f"{member.model.context_length:,}; shorten it",
            )
