"""Only the host's own signed cookie says who is signed in, and what an account did is the account's.

`tests.server.test_space` has the way through the provider, and the same account in several browsers.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from itsdangerous import TimestampSigner

from gac_app.server.host import HostSecrets, create_host
from tests.databases import sql
from tests.server.fake_provider import SECRET, Provider, offering_sign_in
from tests.server.site import Tab, served
from tests.services.house import until
from tests.ui.planted import Planted, planted_arena

ANNA = "1111aaaa"


def cookie(number: str, secret: str = SECRET, **changes: Any) -> str:
    """As Gradio's host sets it, once somebody has signed in."""
    user = {"sub": number, "preferred_username": f"name-of-{number}"}
    session = {"oauth_info": {"userinfo": user, "expires_at": time.time() + 3600, **changes}}
    signer = TimestampSigner(hashlib.sha256(f"{secret}-v4".encode()).hexdigest())
    return signer.sign(b64encode(json.dumps(session).encode())).decode()


def tab(url: str, session: str = "", key: str = "") -> Tab:
    """A page in some browser; `session` is what its browser has of Gradio's cookie."""
    headers = {"cookie": f"session={session}"} if session else {}
    return Tab(httpx.Client(base_url=url, headers=headers, timeout=60), key)


def prompts(opened: Tab) -> list[str]:
    return [run["prompt"] for run in opened.history()]


@dataclass
class Host:
    url: str
    planted: Planted
    folder: Path


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("host")
    planted = planted_arena(folder, is_mirrored=True)
    with offering_sign_in(Provider("http://127.0.0.1:9")):  # nobody listens
        made = create_host(planted.runs, planted.runs.config, None, planted.arena, secrets=HostSecrets(sign_in=SECRET))
    with served(made) as url:
        yield Host(url, planted, folder)


@pytest.fixture
def anna() -> str:
    """The number of an account."""
    return secrets.token_hex(8)


NOBODIES = {"signed by another": cookie(ANNA, "another-secret"), "signed without a secret": cookie(ANNA, "")}
NOBODIES |= {"of nobody": cookie(""), "without a user": cookie(ANNA, userinfo=None)}
NOBODIES["over"] = cookie(ANNA, expires_at=1.0)
NOBODIES["not signed"] = b64encode(b'{"oauth_info": {"userinfo": {"sub": "1111aaaa"}}}').decode()


@pytest.mark.parametrize("session", NOBODIES.values(), ids=NOBODIES)
def test_only_a_signed_cookie_tells_who_it_is(host: Host, session: str) -> None:
    home = tab(host.url, cookie(ANNA))
    home.run("From home")
    until(home.history, "for the run")
    other = tab(host.url, session)
    assert prompts(other) == []
    assert not other.call("gac-account", "who_is_signed_in")["is_signed_in"]


def test_no_header_and_no_field_tells_who_it_is(host: Host, anna: str) -> None:
    tab(host.url, cookie(anna)).run("From home")
    other = tab(host.url)
    other.http.headers.update({"x-hf-user": anna, "authorization": f"Bearer {anna}", "x-account": anna, "sub": anna})
    for fields in ({"account": {"key": "d" * 64}}, {"sub": anna}, {"oauth_info": {"userinfo": {"sub": anna}}}):
        assert not other.call("gac-account", "who_is_signed_in", **fields)["is_signed_in"]
    assert prompts(other) == []


def test_nothing_stored_names_the_account(host: Host, anna: str) -> None:
    home = tab(host.url, cookie(anna))
    home.run("From home")
    until(lambda: prompts(home) == ["From home"], "for the run")
    files = b"".join(file.read_bytes() for file in host.folder.iterdir() if file.is_file())
    assert anna.encode() not in files
    assert b"name-of" not in files
    tab(host.url, cookie(anna)).call("gac-history", "delete_all")
    assert prompts(home) == []


def test_battles_and_votes_are_the_account_s(host: Host, anna: str) -> None:
    home, work = tab(host.url, cookie(anna)), tab(host.url, cookie(anna))
    home.run("From home")
    until(home.history, "for the run")
    (run,) = work.history()
    work.call("gac-board", "vote_run", run=run["id"], outcome="ensemble")
    home.event("gac-arena", "start", prompt="A battle from home", again="", consents=True)
    of_whose_the_run_is = "SELECT * FROM battle JOIN conversation USING (visitor_id)"
    until(lambda: sql(host.folder / "runs.sqlite3", of_whose_the_run_is), "for the row")
    assert tab(host.url, key=home.key).call("gac-arena", "own_battles")["num"] == 0


def test_signing_in_that_fails_ends_on_the_page(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    client = httpx.Client(base_url=host.url, timeout=60)
    for address in ("/login/huggingface?_target_url=/&hidden=1", "/login/callback?error=access_denied&hidden=1"):
        answer = client.get(address)
        assert (answer.status_code, answer.headers["location"]) == (307, "/?sign-in=failed")
    assert "signing in failed" in caplog.text
    assert "hidden" not in caplog.text


def test_signing_out_ends_the_session(host: Host, anna: str) -> None:
    client = httpx.Client(base_url=host.url, timeout=60)
    answer = client.get("/logout?_target_url=//elsewhere.example/", headers={"cookie": f"session={cookie(anna)}"})
    assert answer.headers["location"] == "/"
    assert "session=null" in answer.headers["set-cookie"]


def test_a_host_that_does_not_offer_it_has_no_trace_of_it(tmp_path: Path) -> None:
    planted = planted_arena(tmp_path)
    host = create_host(planted.runs, planted.runs.config, None, planted.arena)
    with served(host) as url:
        opened = tab(url, cookie(ANNA))
        assert "gac-account" not in opened.parts
        assert prompts(opened) == []
        assert opened.http.get("/login/huggingface").status_code == 403
        assert opened.http.get("/logout").status_code == 403
