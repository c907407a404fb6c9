"""A provider of OpenID Connect on this machine that knows one person, as huggingface.co is to a Space."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from gradio import oauth
from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "the-client", "the-secret-of-the-space"
USER = {"sub": "60f0c0ffee", "preferred_username": "lovelace", "name": "Ada Lovelace", "picture": "", "profile": ""}


@dataclass
class Provider:
    """Where it is; while `is_refusing`, the person says no."""

    url: str
    is_refusing: bool = False

    @property
    def variables(self) -> dict[str, str]:
        """What a Space with `hf_oauth: true` finds in its environment."""
        client = {"OAUTH_CLIENT_ID": CLIENT, "OAUTH_CLIENT_SECRET": SECRET}
        return {**client, "OAUTH_SCOPES": "openid profile", "OPENID_PROVIDER_URL": self.url}


@contextmanager
def offering_sign_in(provider: Provider) -> Iterator[None]:
    """Hosts that are made in this process until the block ends are of a Space with `hf_oauth: true`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(oauth, "get_space", lambda: "me/gac")
        for name, value in provider.variables.items():
            patch.setattr(oauth, name, value)
        yield


@contextmanager
def provided() -> Iterator[Provider]:
    key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
    nonces: dict[str, str] = {}  # by the code that was given out

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(asked.query).items()}
            if asked.path == "/.well-known/openid-configuration":
                paths = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "jwks"}
                self.answer({"issuer": url, **{name: f"{url}/{path}" for name, path in paths.items()}})
            elif asked.path == "/jwks":
                self.answer({"keys": [key.as_dict(private=False)]})
            else:
                self.authorize(query)

        def authorize(self, query: dict[str, str]) -> None:
            if provider.is_refusing:
                told = {"error": "access_denied", "state": query["state"]}
            else:
                told = {"code": f"code{len(nonces)}", "state": query["state"]}
                nonces[told["code"]] = query["nonce"]
            self.send_response(302)
            joint = "&" if "?" in query["redirect_uri"] else "?"
            self.send_header("Location", query["redirect_uri"] + joint + urlencode(told))
            self.end_headers()

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            now = int(time.time())
            claims = {**USER, "iss": url, "aud": CLIENT, "iat": now, "exp": now + 600}
            claims["nonce"] = nonces.pop(form["code"][0])  # a code is good for one time
            id_token = jwt.encode({"alg": "RS256", "kid": "one"}, claims, key)
            self.answer({"access_token": "x" * 40, "token_type": "bearer", "expires_in": 28800, "id_token": id_token})

        def answer(self, value: dict[str, Any]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(value).encode())

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{server.server_address[1]}"
    provider = Provider(url)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
