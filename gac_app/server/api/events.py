"""`GET /v1/runs/ID/events`: what a run tells those who follow it, as server-sent events that can be resumed."""

# Annotations are not postponed: FastAPI reads the dependencies in them, which are local.

from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Annotated

from fastapi import APIRouter, Depends, Header
from fastapi.responses import Response
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from pydantic import BaseModel

from gac_app.decoding.trace import FinishedEvent, TokenEvent
from gac_app.errors import ElsewhereError, NotFoundError, RequestError
from gac_app.server.api.access import Access
from gac_app.server.api.answers import GacStep, gac_step
from gac_app.server.api.errors import ApiError
from gac_app.server.api.following import Following, RunStream, pieces_of
from gac_app.services.completions.completion_run import CompletionRun
from gac_app.services.completions.completions import Asker, Completions

LAST_EVENT = "Last-Event-ID"


class TokenTold(BaseModel):
    """The event `token`: a step of a choice, and the text that it adds."""

    choice: int
    text: str
    step: GacStep


class EndTold(BaseModel):
    """The event `finished`: the end of a choice."""

    choice: int
    reason: str
    detail: str
    num_tokens: int
    num_ensembled: int
    digest: str


_OF_END = [name for name in EndTold.model_fields if name != "choice"]


def event_route(completions: Completions, access: Access) -> APIRouter:
    """The route. An answer `chatcmpl-ID` or `cmpl-ID` is the run ID. A run goes on while anybody follows it."""
    router = APIRouter()
    told = "Server-sent events: `token` with a TokenTold, `finished` with an EndTold."
    content = {"text/event-stream": {"schema": {"type": "string", "description": told}}}

    @router.get("/v1/runs/{run_id}/events", response_class=Response, responses={200: {"content": content}})
    async def events(
        run_id: str,
        asker: Annotated[Asker, Depends(access)],
        last_event_id: Annotated[str, Header(max_length=2000)] = "",
    ) -> RunStream:
        try:
            run = completions.find(run_id.rpartition("-")[2], asker)
        except ElsewhereError as error:
            raise ApiError(421, str(error), code="run_elsewhere", param="run_id") from None
        except NotFoundError as error:
            raise ApiError(404, str(error), code="run_not_found", param="run_id") from None
        num_told, leave = _num_told(run, last_event_id), ExitStack()
        leave.enter_context(completions.following(run))
        return RunStream(Following(run, leave), _sent(run, num_told))

    return router


def _num_told(run: CompletionRun, last_event_id: str) -> dict[str, int]:
    """By stream, how many events came before the end of the last one, whose id is these numbers: `3.0.7`."""
    numbers = last_event_id.split(".") if last_event_id else ["0"] * len(run.streams)
    if len(numbers) != len(run.streams) or not all(one.isdecimal() and len(one) < 10 for one in numbers):
        raise RequestError(LAST_EVENT, "is none of this run's")
    return dict(zip(run.streams, map(int, numbers), strict=True))


async def _sent(run: CompletionRun, num_told: dict[str, int]) -> AsyncIterator[bytes]:
    sent = dict(num_told)
    async for piece in pieces_of(run, num_told):
        if piece is None:
            yield KEEPALIVE_COMMENT
            continue
        key, tokens, end = piece
        new: list[TokenEvent | FinishedEvent] = [*tokens, *([end] if end else [])]
        for event in new:
            sent[key] += 1
            kind, data = _told(int(key), event)
            yield format_sse_event(data_str=data.model_dump_json(), event=kind, id=".".join(map(str, sent.values())))


def _told(choice: int, event: TokenEvent | FinishedEvent) -> tuple[str, BaseModel]:
    if isinstance(event, TokenEvent):
        return "token", TokenTold(choice=choice, text=event.text, step=gac_step(event.step))
    return "finished", EndTold(choice=choice, **{name: getattr(event, name) for name in _OF_END})
