"""What `POST /v1/responses` takes and answers. These models are its schema."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from gac_app.models.message import Message
from gac_app.server.api.answers import GacAnswer
from gac_app.server.api.asked import Asked, No, StreamOptions, TextFormat, described_as, like
from gac_app.server.api.requests import Answered, AskedRole, Ignored, Part, message_of
from gac_app.services.completions.completion_run import Prompt

Status = Literal["in_progress", "completed", "incomplete", "failed"]


class InputPart(Part):
    """A part of an item, one of an earlier answer among them."""

    type: Literal["input_text", "output_text"]
    annotations: Annotated[list[Any], Field(max_length=0)] | None = None
    logprobs: list[Any] | None = None


class InputItem(Asked):
    """An item of the input: a message. Its id and status have no effect."""

    type: Literal["message"] | None = None
    role: AskedRole
    content: Annotated[
        str | Annotated[list[InputPart], Field(min_length=1, max_length=1000)],
        described_as("text, or parts of type input_text or output_text; nothing else is supported"),
    ]
    id: str | None = Field(None, max_length=1000)
    status: str | None = Field(None, max_length=100)

    def message(self) -> Message:
        return message_of(self.role, self.content)


class TextOptions(Asked):
    """How the text is written."""

    format: TextFormat | None = None
    verbosity: Ignored = Field(None, description="Has no effect.")


class ResponseRequest(Answered):
    """`POST /v1/responses`."""

    input: str | Annotated[list[InputItem], Field(min_length=1, max_length=10_000, fail_fast=True)]
    instructions: str | None = None
    max_output_tokens: int | None = like("max_new_tokens")
    reasoning: dict[str, Any] | None = Field(None, description="Has no effect.")
    # What has to change nothing.
    stream_options: StreamOptions | None = None
    background: No | None = None
    include: Annotated[list[Any], Field(max_length=0)] | None = None
    truncation: Literal["disabled"] | None = None
    text: TextOptions | None = None

    @property
    def max_new_tokens(self) -> int | None:
        return self.max_output_tokens

    @property
    def json_schema(self) -> dict[str, Any] | None:
        form = self.text and self.text.format
        return form.schema_of_text if form else None

    def asked_prompts(self) -> tuple[Prompt, ...]:
        first = [Message("system", self.instructions)] if self.instructions else []
        said = [Message("user", self.input)] if isinstance(self.input, str) else [one.message() for one in self.input]
        return ((*first, *said),)


class OutputText(BaseModel):
    """The text of a message."""

    type: Literal["output_text"] = "output_text"
    text: str
    annotations: list[str] = []
    logprobs: list[str] = []


class OutputMessage(BaseModel):
    """The assistant's message."""

    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    status: Status
    content: list[OutputText]


class InputDetails(BaseModel):
    """Nothing is billed otherwise, so nothing is told of caches."""

    cached_tokens: int = 0
    cache_write_tokens: int = 0


class OutputDetails(BaseModel):
    """Tokens that are not shown: none."""

    reasoning_tokens: int = 0


class ResponseUsage(BaseModel):
    """See `Usage`."""

    input_tokens: int
    input_tokens_details: InputDetails = InputDetails()
    output_tokens: int
    output_tokens_details: OutputDetails = OutputDetails()
    total_tokens: int


class IncompleteDetails(BaseModel):
    """Why a response ended before its end."""

    reason: Literal["max_output_tokens"] = "max_output_tokens"


class ResponseError(BaseModel):
    """Why a response failed."""

    code: Literal["server_error"] = "server_error"
    message: str


class ResponseBody(BaseModel):
    """A response."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    model: str
    status: Status
    output: list[OutputMessage] = []
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None = None
    max_output_tokens: int
    metadata: dict[str, str] = {}
    temperature: float
    top_p: float
    parallel_tool_calls: bool = False
    tool_choice: Literal["none"] = "none"
    tools: list[str] = []
    store: bool = False
    truncation: Literal["disabled"] = "disabled"
    usage: ResponseUsage | None = None
    gac: GacAnswer | None = None


class ResponseEvent(BaseModel):
    """An event of a stream: `type`, `sequence_number`, and what its type has."""

    type: str
    sequence_number: int
    response: ResponseBody | None = None
    item_id: str | None = None
    output_index: int | None = None
    content_index: int | None = None
    item: OutputMessage | None = None
    part: OutputText | None = None
    delta: str | None = None
    text: str | None = None
    logprobs: list[str] | None = None
