"""What a program may ask, and its translation into settings. These models are the API's schema."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from gac_app.models.message import Message
from gac_app.server.api.asked import (
    Asked,
    Bias,
    GacOptions,
    No,
    One,
    ResponseFormat,
    StreamOptions,
    Yes,
    described_as,
    few,
    like,
)
from gac_app.services.completions.completion_run import Document, Prompt
from gac_app.services.completions.systems import ENSEMBLE_NAME
from gac_app.settings import MAX_BIASES, MAX_NEW_TOKENS, Settings

MAX_CHOICES = 16
MAX_PROMPTS = 128  # and choices of all of them
MAX_IDS = 200_000
MAX_TOP = 8  # tokens that a step's trace has
MAX_TOP_ASKED = 20  # as OpenAI takes it
Ignored = Annotated[str, Field(max_length=1000)] | None
Metadata = dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]]  # responses echo it
# Fields of OpenAI's that would change the answer. Where they change nothing, as an empty list of tools, they are taken.
UNSUPPORTED = frozenset(
    {
        *("audio", "modalities", "prediction", "web_search_options"),
        *("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"),
        *("frequency_penalty", "presence_penalty"),
        *("best_of", "suffix", "store"),
        *("background", "conversation", "include", "previous_response_id", "truncation"),
    }
)


def _by_id(bias: dict[str, float]) -> dict[int, float]:
    return {int(token_id): value for token_id, value in bias.items()}


class Answered(Asked):
    """What all requests for an answer have in common."""

    model: str = Field(max_length=200, description="One of GET /v1/models.")
    stream: bool | None = None
    temperature: float | None = like("temperature")
    top_p: float | None = like("top_p")
    gac: GacOptions | None = None
    # What has no effect here.
    user: Ignored = None
    metadata: Annotated[Metadata, Field(max_length=16), few(16)] | None = None
    safety_identifier: Ignored = None
    prompt_cache_key: Ignored = None
    prompt_cache_retention: Ignored = None
    service_tier: Ignored = None
    # What has to change nothing.
    store: No | None = None
    tools: Annotated[list[Any], Field(max_length=0)] | None = None
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: bool | None = None

    @property
    @abstractmethod
    def max_new_tokens(self) -> int | None:
        """Of the answer."""

    @abstractmethod
    def asked_prompts(self) -> tuple[Prompt, ...]:
        """What is to be answered."""

    def question(self) -> dict[str, Any]:
        """What a `Question` has beside its system and settings."""
        return {"prompts": self.asked_prompts()}

    def changes(self) -> dict[str, Any]:
        """The settings that differ from the system's: attributes of the same name, before those of the extension."""
        own = self.gac.settings if self.gac else {}
        given = {name: getattr(self, name, None) for name in Settings.model_fields}
        return own | {name: value for name, value in given.items() if value is not None}


class Sampling(Answered):
    """What completions and chats have in common."""

    stream_options: StreamOptions | None = None
    n: int | None = Field(None, ge=1, le=MAX_CHOICES)
    top_k: int | None = like("top_k")
    min_p: float | None = like("min_p")
    repetition_penalty: float | None = like("repetition_penalty")
    seed: int | None = like("seed")
    stop: Annotated[
        str | Annotated[list[str], Field(max_length=16)] | None,
        described_as("a text, or a list of up to 16 texts"),
        AfterValidator(lambda stop: (stop,) if isinstance(stop, str) else stop and tuple(stop)),
    ] = None
    response_format: ResponseFormat | None = None
    logit_bias: Annotated[Bias, Field(max_length=MAX_BIASES), few(MAX_BIASES), AfterValidator(_by_id)] | None = Field(
        None, description="By ids of the model's tokeniser. -100 rules a token out, 100 leaves only such tokens."
    )
    # What has no effect here.
    min_tokens: Annotated[int, Field(ge=0)] | None = None
    ignore_eos: bool | None = None
    # What has to change nothing.
    best_of: One | None = None
    frequency_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    presence_penalty: Annotated[float, Field(ge=0, le=0)] | None = None

    @property
    @abstractmethod
    def num_top(self) -> int | None:
        """How many likely tokens are told with each of the answer; None = not even its probability."""

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def question(self) -> dict[str, Any]:
        return {**super().question(), "num_choices": self.n or 1}

    @property
    def json_schema(self) -> dict[str, Any] | None:
        return self.response_format.schema_of_text if self.response_format else None


class Part(Asked):
    """A part of a message."""

    text: str


class TextPart(Part):
    """A part of a chat's message."""

    type: Literal["text"]


AskedRole = Literal["system", "developer", "user", "assistant"]


def message_of(role: AskedRole, content: str | Sequence[Part]) -> Message:
    text = content if isinstance(content, str) else "".join(part.text for part in content)
    return Message("system" if role == "developer" else role, text)


class ChatMessage(Asked):
    """One message of a chat."""

    role: AskedRole
    content: Annotated[
        str | Annotated[list[TextPart], Field(min_length=1, max_length=1000, fail_fast=True)],
        described_as("text, or parts of type text; nothing else is supported"),
    ] = ""
    name: Ignored = Field(None, description="Has no effect.")
    tool_calls: Annotated[list[Any], Field(max_length=0)] | None = None

    def message(self) -> Message:
        return message_of(self.role, self.content)


class ChatRequest(Sampling):
    """`POST /v1/chat/completions`."""

    messages: list[ChatMessage] = Field(min_length=1, max_length=10_000, fail_fast=True)
    max_tokens: int | None = like("max_new_tokens")
    max_completion_tokens: int | None = like("max_new_tokens")
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=MAX_TOP_ASKED, description=f"At most {MAX_TOP} come.")
    # What has no effect here.
    reasoning_effort: Ignored = None
    verbosity: Ignored = None
    chat_template_kwargs: dict[str, Any] | None = None
    # What has to change nothing.
    functions: Annotated[list[Any], Field(max_length=0)] | None = None
    modalities: Annotated[list[Literal["text"]], Field(max_length=2, fail_fast=True)] | None = None

    @model_validator(mode="after")
    def _check_logprobs(self) -> ChatRequest:
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs: true")
        return self

    @property
    def max_new_tokens(self) -> int | None:
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def num_top(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None

    def asked_prompts(self) -> tuple[Prompt, ...]:
        return (tuple(message.message() for message in self.messages),)


Ids = Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=MAX_IDS, fail_fast=True)]


Prompts = (
    str
    | Ids
    | Annotated[list[str], Field(min_length=1, max_length=MAX_PROMPTS, fail_fast=True)]
    | Annotated[list[Ids], Field(min_length=1, max_length=MAX_PROMPTS, fail_fast=True)]
)


class CompletionRequest(Sampling):
    """`POST /v1/completions`."""

    prompt: Annotated[Prompts, described_as(f"text, token ids, or a list of up to {MAX_PROMPTS} of either")] = Field(
        description="Text, ids of the model's tokeniser, or a list of either."
    )
    max_tokens: int | None = Field(None, ge=0, le=MAX_NEW_TOKENS)
    echo: bool | None = Field(None, description="Puts the prompt before the answer, and its tokens before logprobs.")
    logprobs: int | None = Field(None, ge=0, le=MAX_TOP_ASKED, description=f"At most {MAX_TOP} come.")
    # What has to change nothing.
    suffix: Annotated[str, Field(max_length=0)] | None = None

    @model_validator(mode="after")
    def _check_number(self) -> CompletionRequest:
        if len(self.asked_prompts()) * (self.n or 1) > MAX_PROMPTS:
            raise ValueError(f"prompts times n are more than {MAX_PROMPTS}")
        return self

    @property
    def max_new_tokens(self) -> int | None:
        return self.max_tokens or None

    @property
    def num_top(self) -> int | None:
        return self.logprobs

    def question(self) -> dict[str, Any]:
        num_top = min(self.logprobs, MAX_TOP) if self.echo and self.logprobs is not None else None
        return {**super().question(), "num_top": num_top, "is_answered": self.max_tokens != 0}

    def asked_prompts(self) -> tuple[Prompt, ...]:
        prompt: Any = self.prompt
        is_one = isinstance(prompt, str) or not prompt or isinstance(prompt[0], int)
        return tuple(Document(one if isinstance(one, str) else tuple(one)) for one in ([prompt] if is_one else prompt))


class TokenizeRequest(Asked):
    """`POST /tokenize`, after vLLM."""

    model: str = Field(ENSEMBLE_NAME, max_length=200)
    prompt: str | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=10_000, fail_fast=True)] | None = None
    add_special_tokens: bool = Field(True, description="As the start of a document.")
    add_generation_prompt: Yes | None = None
    return_token_strs: bool | None = None

    @model_validator(mode="after")
    def _check_one(self) -> TokenizeRequest:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("expected a prompt or messages")
        return self


class DetokenizeRequest(Asked):
    """`POST /detokenize`, after vLLM."""

    model: str = Field(ENSEMBLE_NAME, max_length=200)
    tokens: Ids
