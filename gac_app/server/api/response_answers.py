"""What `POST /v1/responses` answers. These models are its schema."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from gac_app.server.api.answers import GacAnswer

Status = Literal["in_progress", "completed", "incomplete", "failed"]


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
