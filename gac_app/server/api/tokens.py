"""`POST /tokenize` and `POST /detokenize`, after vLLM: by a member's tokeniser, or the union's.

`GET /tokenizer_info` is for lm-eval, which looks for it before it uses the other two.
"""

# Annotations are not postponed: FastAPI reads the dependencies in them, which are local.

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel

from gac_app.errors import ModelLoadError, RequestError
from gac_app.server.api.access import Access
from gac_app.server.api.answers import DetokenizeAnswer, TokenizeAnswer, TokenizerInfo, token_text
from gac_app.server.api.bodies import body_of, described
from gac_app.server.api.requests import DetokenizeRequest, TokenizeRequest
from gac_app.server.limits.callers import client_in
from gac_app.services.completions.completion_run import Document, check_length
from gac_app.services.completions.completions import Completions
from gac_app.services.completions.systems import System

EOS = "<|endoftext|>"  # as a whole prompt it stands for what a document begins with
MODEL = "model"  # of a request's state: the model if its body names none


def token_routes(completions: Completions, access: Access) -> APIRouter:
    """The routes. They wait for no model, only for a thread."""
    router, callers = APIRouter(dependencies=[Depends(access)]), access.callers

    def named(asked: TokenizeRequest | DetokenizeRequest, request: Request) -> System:
        is_named = "model" in asked.model_fields_set
        return completions.systems.find(asked.model if is_named else getattr(request.state, MODEL, asked.model))

    def ids_of(asked: TokenizeRequest, system: System) -> list[int]:
        ensemble = completions.ensemble()
        if asked.messages is None:
            text = asked.prompt or ""
            check_length(Document(text))
            tokenizer = ensemble.tokenizer(system.member)
            return tokenizer.start if text == EOS else tokenizer.encode(text, is_document=asked.add_special_tokens)
        if system.member is None:
            raise RequestError("messages", "each member has a chat template of its own; name one as the model")
        messages = tuple(message.message() for message in asked.messages)
        check_length(messages, "messages")
        try:
            return ensemble.members[system.member].encode(messages)
        except ModelLoadError as error:
            raise RequestError("messages", str(error)) from None

    def tokens_of(asked: TokenizeRequest, system: System) -> TokenizeAnswer:
        ids, most, strings = ids_of(asked, system), completions.context_length(system), None
        if asked.return_token_strs:
            strings = list(map(token_text, completions.ensemble().tokenizer(system.member).tokens(ids)))
        return TokenizeAnswer(count=len(ids), max_model_len=most, tokens=ids, token_strs=strings)

    def text_of(asked: DetokenizeRequest, system: System) -> DetokenizeAnswer:
        document = completions.ensemble().tokenizer(system.member).document(asked.tokens)
        return DetokenizeAnswer(prompt=document.decode("utf-8", "replace"))

    def add(kind: type[Any], answer: type[BaseModel], answer_to: Callable[[Any, System], BaseModel], path: str) -> None:
        @router.post(path, name=path[1:], response_model=answer, **described(kind))
        async def answered(request: Request, asked: Annotated[Any, Depends(body_of(kind, callers))]) -> Response:
            system = named(asked, request)
            told = await callers.work(client_in(request.scope), lambda: answer_to(asked, system).model_dump_json())
            return Response(told, media_type="application/json")

    add(TokenizeRequest, TokenizeAnswer, tokens_of, "/tokenize")
    add(DetokenizeRequest, DetokenizeAnswer, text_of, "/detokenize")

    @router.get("/tokenizer_info")
    async def tokenizer_info() -> TokenizerInfo:
        return TokenizerInfo(eos_token=EOS)

    return router
