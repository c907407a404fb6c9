"""What the API answers. These models are its schema."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from gac_app.decoding.trace import FinishedEvent, FinishReason, StepTrace

LEAST_LOGPROB = -9999.0  # of what has no probability: JSON has no infinity

FinishName = Literal["stop", "length"]
FINISH: dict[FinishReason, FinishName] = {FinishReason.STOP: "stop", FinishReason.LENGTH: "length"}


class ModelCard(BaseModel):
    """A system that answers under a name."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "gac"
    max_model_len: int | None = Field(None, description="Tokens of prompt and answer; null while members load.")


class ModelList(BaseModel):
    """`GET /v1/models`."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


class Usage(BaseModel):
    """Tokens of the prompts, as the first member that takes part reads them, and of the answers, ends included."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


def logprob_of(prob: float) -> float:
    return math.log(prob) if prob > 0 else LEAST_LOGPROB


def token_text(token: bytes) -> str:
    """A token as text; where its bytes are not UTF-8, as OpenAI writes it: `bytes:\\xe4\\xbd`."""
    try:
        return token.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token)


class Token(BaseModel):
    """A token as text and as bytes, made of any value that has a `token`. The end of an answer is an empty one."""

    model_config = ConfigDict(from_attributes=True)

    token: Annotated[str, BeforeValidator(token_text)]
    bytes: Annotated[list[int], BeforeValidator(list)] = Field(validation_alias=AliasChoices("token"))


class TopLogprob(Token):
    """A token that was likely."""

    logprob: Annotated[float, BeforeValidator(logprob_of)] = Field(validation_alias="prob")


class TokenLogprob(TopLogprob):
    """A token that was chosen."""

    top_logprobs: list[TopLogprob]


class ChatLogprobs(BaseModel):
    """Of each token, in the distribution from which it was chosen, before temperature and filters."""

    content: list[TokenLogprob]
    refusal: None = None


class MemberShare(BaseModel):
    """A member that took part in a step: its weight, and its probability of the token."""

    model_config = ConfigDict(from_attributes=True)

    weight: float
    prob: float


class GacStep(Token):
    """A step of the ensemble."""

    prob: float
    gate_confidence: float
    ensembled: bool = Field(validation_alias="is_ensembled", description="Several members took part.")
    winner: str
    drafted: bool = Field(validation_alias="is_drafted", description="The token is an accepted draft token.")
    drafted_by: list[str] | None = Field(
        description="The members who drafted for this place, accepted or not; [] = prompt lookup; null = nobody."
    )
    members: Annotated[dict[str, MemberShare], BeforeValidator(lambda members: {one.member: one for one in members})]


class GacAnswer(BaseModel):
    """How an answer was decoded. In a stream, `steps` are those of the chunk, and the last chunk has the rest."""

    steps: list[GacStep]
    digest: str | None = None
    reproducible: bool | None = None
    num_ensembled: int | None = None


class AnswerMessage(BaseModel):
    """The assistant's message."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(BaseModel):
    """One of the answers."""

    index: int
    gac: GacAnswer | None = None


class ChatChoice(Choice):
    """One answer."""

    message: AnswerMessage
    finish_reason: FinishName
    logprobs: ChatLogprobs | None = None


class Head(BaseModel):
    """What all answers and chunks begin with."""

    id: str
    created: int
    model: str
    system_fingerprint: str


class ChatCompletion(Head):
    """`POST /v1/chat/completions`."""

    object: Literal["chat.completion"] = "chat.completion"
    choices: list[ChatChoice]
    usage: Usage


class Delta(BaseModel):
    """What a chunk adds to the message."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChatChunkChoice(Choice):
    """What a chunk adds to one answer."""

    delta: Delta
    finish_reason: FinishName | None = None
    logprobs: ChatLogprobs | None = None


class ChatChunk(Head):
    """An event of a streamed chat."""

    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    choices: list[ChatChunkChoice]
    usage: Usage | None = None


class TextLogprobs(BaseModel):
    """Of each token. That of a document's first token is null; `bytes:` begins a token that is no text by itself."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None
    text_offset: list[int]


class TextChoice(Choice):
    """One continuation, or what a chunk adds to it."""

    text: str
    finish_reason: FinishName | None
    logprobs: TextLogprobs | None = None


class TextCompletion(Head):
    """`POST /v1/completions`, and each event of its stream."""

    object: Literal["text_completion"] = "text_completion"
    choices: list[TextChoice]
    usage: Usage | None = None


class TokenizeAnswer(BaseModel):
    """`POST /tokenize`."""

    count: int
    max_model_len: int | None
    tokens: list[int]
    token_strs: list[str] | None = None


class DetokenizeAnswer(BaseModel):
    """`POST /detokenize`."""

    prompt: str


class TokenizerInfo(BaseModel):
    """`GET /tokenizer_info`."""

    tokenizer_class: str = "union"
    eos_token: str = Field(description="Plain text, which lm-eval puts before a text without a context.")


def chat_logprob(step: StepTrace, num_top: int) -> TokenLogprob:
    return TokenLogprob.model_validate({"token": step.token, "prob": step.prob, "top_logprobs": step.top[:num_top]})


def gac_answer(steps: list[StepTrace], end: FinishedEvent | None, *, has_steps: bool) -> GacAnswer:
    """The extension's part of a choice, or of a chunk of it: `end` is None before the last."""
    told = [GacStep.model_validate(step) for step in steps] if has_steps else []
    if end is None:
        return GacAnswer(steps=told)
    return GacAnswer(steps=told, digest=end.digest, reproducible=end.is_reproducible, num_ensembled=end.num_ensembled)
