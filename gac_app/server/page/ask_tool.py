"""The tool `ask` of MCP, which programs also call by Gradio's client. It is the API's chat with one prompt: same keys,
same limits, same queue.
"""

# Annotations are not postponed: Gradio reads them.

import gradio as gr
from pydantic import ValidationError
from starlette.requests import Request

from gac_app.decoding.trace import FinishedEvent
from gac_app.errors import UNEXPECTED, GacError
from gac_app.server.api.access import Access
from gac_app.server.api.errors import ApiError, error_of, invalid
from gac_app.server.api.following import begin, until_over
from gac_app.server.api.requests import UNSUPPORTED, ChatRequest
from gac_app.server.limits.bodies import RefusedError
from gac_app.server.quiet_log import log_without_text
from gac_app.services.completions.completions import Completions
from gac_app.services.completions.systems import ENSEMBLE_NAME

_MAX_TOKENS = 256


def ask_tool(completions: Completions, access: Access) -> None:
    """Add the tool to the page that is being built."""

    async def answer(asked: ChatRequest, request: Request | gr.Request) -> str:
        # MCP gives the request, which lasts as long as the call; Gradio's client the one that queued it, which is over.
        asker = await access(request if isinstance(request, Request) else request.request)
        following = await begin(completions, asked, asker)
        await until_over(following, request if isinstance(request, Request) else None)
        [stream] = following.run.streams.values()
        assert isinstance(stream.finished, FinishedEvent)  # noqa: S101 (else `until_over` raises)
        return stream.finished.text

    async def ask(
        prompt: str, model: str = ENSEMBLE_NAME, max_tokens: int = _MAX_TOKENS, request: gr.Request | None = None
    ) -> str:
        """Ask an ensemble of language models, which choose each token together, or one of them alone.

        Args:
            prompt: what is asked.
            model: gac is the ensemble; GET /v1/models lists the others.
            max_tokens: the answer ends after this many tokens.
        """
        given = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": max_tokens}
        try:
            asked = ChatRequest.model_validate(given)
            return await answer(asked, request)
        except ValidationError as error:
            refusal = invalid(error, UNSUPPORTED)
        except (GacError, RefusedError, ApiError) as error:
            refusal = error_of(error, {"max_new_tokens": "max_tokens"})
        except Exception:
            log_without_text()
            refusal = ApiError(500, UNEXPECTED)
        raise gr.Error(str(refusal), print_exception=False)

    gr.api(ask, api_name="ask", queue=False)
