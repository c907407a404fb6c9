"""Signing in with Hugging Face, by Gradio's own routes and its signed cookie.

A signed-in visitor is known by a key derived from the account's number and the Space's secret, instead of the browser's
random key. So the visitor is the same in every browser, and nothing stored names the account.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.responses import RedirectResponse
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gac_app.server.middleware import with_start
from gac_app.ui.requests import ACCOUNT, Account

logger = logging.getLogger(__name__)

SIGN_IN_ROUTES = ("/login/huggingface", "/login/callback", "/logout")
FAILED = "/?sign-in=failed"  # where it ends if it fails; the page says so


def sign_in_parts(secret: str) -> tuple[Sequence[BaseRoute], Sequence[Middleware]]:
    """The routes and the middleware, outermost first, of a host where visitors may sign in; none without a secret.

    Args:
        secret: of the Space, by which keys follow from accounts; Gradio signs its cookie by it too.
    """
    if not secret:
        return (), ()
    from gradio import oauth

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    oauth.attach_oauth(app)
    return app.routes, [*app.user_middleware, Middleware(AccountMiddleware, secret=secret)]


class AccountMiddleware:
    """Tells the page who is signed in, as the signed cookie says and nothing else."""

    def __init__(self, app: ASGIApp, secret: str) -> None:
        self.app, self._secret = app, secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = {**scope.get("state", {}), ACCOUNT: account_in(scope.get("session", {}), self._secret)}
        scope = {**scope, "state": state}
        if scope["path"] in SIGN_IN_ROUTES:
            await self._sign_in(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _sign_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A sign-in that fails or is cancelled ends on the page. Its reason may quote the address: it is not logged."""
        started: list[Message] = []
        try:
            await self.app(scope, receive, with_start(send, started.append))
        except Exception as error:
            if started:
                raise
            logger.warning("signing in failed: %s", type(error).__name__)
            await RedirectResponse(FAILED)(scope, receive, send)


def account_in(session: Mapping[str, Any], secret: str) -> Account | None:
    """Who is signed in; None if nobody is, or if the time that Hugging Face has set is over."""
    info = session.get("oauth_info") or {}
    user, expires_at = info.get("userinfo") or {}, info.get("expires_at")
    number = user.get("sub")
    if not isinstance(number, str) or not number:
        return None
    left_s = None if expires_at is None else expires_at - time.time()
    if left_s is not None and left_s <= 0:
        return None
    key = hmac.new(secret.encode(), f"visitor {number}".encode(), hashlib.sha256).hexdigest()
    return Account(key, str(user.get("preferred_username") or ""), left_s)
