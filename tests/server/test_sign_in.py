"""Who signs in is the same visitor in every browser, and only the host's own signed cookie says who it is."""

from __future__ import annotations

import hashlib
import json
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from gradio import oauth
from itsdangerous import TimestampSigner

from gac_app.server.host import create_host
from gac_app.services.runs import RunService
from tests.server.site import API
from tests.services.house import until
from tests.ui.planted import planted_arena

HERE = "http://localhost"
SECRET, ANNA, BERT = "the-secret", "1111aaaa", "2222bbbb"
ANNA_AT_HOME, ANNA_AT_WORK, NOBODY = "a" * 64, "b" * 64, "c" * 64


def cookie(number: str, secret: str = SECRET, **changes: Any) -> str:
    """As Gradio's host sets it, once somebody has signed in."""
    user = {"sub": number, "preferred_username": f"name-of-{number}"}
    session = {"oauth_info": {"userinfo": user, "expires_at": time.time() + 3600, **changes}}
    signer = TimestampSigner(hashlib.sha256(f"{secret}-v4".encode()).hexdigest())
    return signer.sign(b64encode(json.dumps(session).encode())).decode()


class Tab:
    """A page in some browser; `session` is what its browser has of Gradio's cookie."""

    def __init__(self, host: Any, key: str, session: str = "") -> None:
        self.http = TestClient(host, base_url=HERE)
        self.key, self.name, self.headers = key, f"tab{key[:6]}{len(session)}", {}
        if session:
            self.headers = {"cookie": f"session={session}"}
        self.config = self.http.get("/config", headers=self.headers).json()
        self.parts = {one["props"].get("elem_id"): one["id"] for one in self.config["components"]}

    def call(self, part: str, function: str, **fields: Any) -> dict[str, Any]:
        body = {"component_id": self.parts[part], "fn_name": function, "session_hash": self.name}
        answer = self.http.post(
            f"{API}/component_server", json={**body, "data": {"key": self.key, **fields}}, headers=self.headers
        )
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def run(self, prompt: str) -> None:
        (event,) = [one for one in self.config["dependencies"] if any(name == "submit" for _, name in one["targets"])]
        body = {"fn_index": event["id"], "session_hash": self.name, "data": [self.key, None, prompt, {}]}
        assert self.http.post(f"{API}/queue/join", json=body, headers=self.headers).status_code == 200
        address = f"{API}/queue/data?session_hash={self.name}"
        with self.http.stream("GET", address, headers=self.headers) as stream:
            assert any("process_completed" in line for line in stream.iter_lines())

    def prompts(self) -> list[str]:
        fields = dict.fromkeys(("search", "outcome", "mode", "member", "since", "before"), "")
        found = self.call("gac-history", "list_conversations", offset=0, sort="newest", is_starred=False, **fields)
        return [run["prompt"] for conversation in found["conversations"] for run in conversation["runs"]]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("SYSTEM", "spaces")
    monkeypatch.setenv("SPACE_ID", "me/gac")
    for name, value in {
        "OAUTH_CLIENT_ID": "the-client",
        "OAUTH_CLIENT_SECRET": SECRET,
        "OAUTH_SCOPES": "openid profile",
        "OPENID_PROVIDER_URL": "http://127.0.0.1:9",  # nobody listens
    }.items():
        monkeypatch.setattr(oauth, name, value)
    planted = planted_arena(tmp_path, is_mirrored=True)
    made = create_host(planted.runs, planted.runs.config, None, planted.arena, sign_in_secret=SECRET)
    made.state.runs = planted.runs
    with TestClient(made, base_url=HERE):
        yield made


def test_who_is_signed_in_finds_the_same_in_every_browser(host: Any) -> None:
    home, work = Tab(host, ANNA_AT_HOME, cookie(ANNA)), Tab(host, ANNA_AT_WORK, cookie(ANNA))
    home.run("From home")
    until(lambda: home.prompts() == ["From home"], "for the run")
    assert work.prompts() == ["From home"]
    assert Tab(host, NOBODY, cookie(BERT)).prompts() == []
    assert work.call("gac-account", "who_is_signed_in")["name"] == f"name-of-{ANNA}"


def test_what_a_browser_did_before_stays_in_it(host: Any) -> None:
    before = Tab(host, ANNA_AT_HOME)
    before.run("Before")
    until(lambda: before.prompts() == ["Before"], "for the run")
    assert before.call("gac-account", "who_is_signed_in") == {"is_signed_in": False, "name": "", "left_s": None}
    assert Tab(host, ANNA_AT_HOME, cookie(ANNA)).prompts() == []
    assert Tab(host, ANNA_AT_HOME).prompts() == ["Before"], "signed out again"


@pytest.mark.parametrize(
    "session",
    [
        pytest.param(cookie(ANNA, "another-secret"), id="signed by another"),
        pytest.param(cookie(ANNA, ""), id="signed without a secret"),
        pytest.param(b64encode(b'{"oauth_info": {"userinfo": {"sub": "1111aaaa"}}}').decode(), id="not signed"),
        pytest.param(cookie(ANNA, expires_at=1.0), id="over"),
        pytest.param(cookie(""), id="of nobody"),
        pytest.param(cookie(ANNA, userinfo=None), id="without a user"),
    ],
)
def test_only_a_signed_cookie_tells_who_it_is(host: Any, session: str) -> None:
    home = Tab(host, ANNA_AT_HOME, cookie(ANNA))
    home.run("From home")
    until(lambda: home.prompts() == ["From home"], "for the run")
    other = Tab(host, NOBODY, session)
    assert other.prompts() == []
    assert not other.call("gac-account", "who_is_signed_in")["is_signed_in"]


def test_no_header_and_no_field_tells_who_it_is(host: Any) -> None:
    Tab(host, ANNA_AT_HOME, cookie(ANNA)).run("From home")
    other = Tab(host, NOBODY)
    other.headers = {"x-hf-user": ANNA, "authorization": f"Bearer {ANNA}", "x-account": ANNA, "sub": ANNA}
    for fields in ({"account": {"key": "d" * 64}}, {"sub": ANNA}, {"oauth_info": {"userinfo": {"sub": ANNA}}}):
        assert not other.call("gac-account", "who_is_signed_in", **fields)["is_signed_in"]
    assert other.prompts() == []


def test_nothing_stored_names_the_account_and_deletion_is_of_the_account(host: Any, tmp_path: Path) -> None:
    home = Tab(host, ANNA_AT_HOME, cookie(ANNA))
    home.run("From home")
    until(lambda: home.prompts() == ["From home"], "for the run")
    files = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())
    assert ANNA.encode() not in files
    assert b"name-of" not in files
    Tab(host, ANNA_AT_WORK, cookie(ANNA)).call("gac-history", "delete_all")
    assert home.prompts() == []


def test_battles_and_votes_are_the_account_s(host: Any) -> None:
    home, work = Tab(host, ANNA_AT_HOME, cookie(ANNA)), Tab(host, ANNA_AT_WORK, cookie(ANNA))
    home.run("From home")
    until(home.prompts, "for the run")
    fields = dict.fromkeys(("search", "outcome", "mode", "member", "since", "before"), "")
    found = work.call("gac-history", "list_conversations", offset=0, sort="newest", is_starred=False, **fields)
    (run,) = found["conversations"][0]["runs"]
    assert "error" not in work.call("gac-board", "vote_run", run=run["id"], outcome="ensemble")
    until(lambda: home.call("gac-arena", "own_battles")["num"], "for what the vote implies")
    assert home.call("gac-arena", "save_battles", format="jsonl")["content"]
    assert Tab(host, ANNA_AT_HOME).call("gac-arena", "own_battles")["num"] == 0


def test_nothing_is_published_that_one_of_the_browsers_does_not_agree_to(host: Any) -> None:
    runs: RunService = host.state.runs

    def published() -> list[bool]:
        newest = runs._runs.all()[-1]
        return [newest.has_consent]

    home, work = Tab(host, ANNA_AT_HOME, cookie(ANNA)), Tab(host, ANNA_AT_WORK, cookie(ANNA))
    home.call("gac-consent", "set_consent", consents=False)
    work.call("gac-consent", "set_consent", consents=True)
    home.run("Not agreed to here")
    assert published() == [False]
    home.call("gac-consent", "set_consent", consents=True)
    home.run("Agreed to everywhere")
    assert published() == [True]


def test_signing_in_that_fails_ends_on_the_page(host: Any, caplog: pytest.LogCaptureFixture) -> None:
    client = TestClient(host, base_url=HERE, follow_redirects=False)
    for address in ("/login/huggingface?_target_url=/&hidden=1", "/login/callback?error=access_denied&hidden=1"):
        answer = client.get(address)
        assert (answer.status_code, answer.headers["location"]) == (307, "/?sign-in=failed")
    assert "signing in failed" in caplog.text
    assert "hidden" not in caplog.text


def test_signing_out_ends_the_session(host: Any) -> None:
    client = TestClient(host, base_url=HERE, follow_redirects=False)
    answer = client.get("/logout?_target_url=//elsewhere.example/", headers={"cookie": f"session={cookie(ANNA)}"})
    assert answer.headers["location"] == "/elsewhere.example/"
    assert "session=null" in answer.headers["set-cookie"]


def test_a_host_that_does_not_offer_it_has_no_trace_of_it(tmp_path: Path) -> None:
    planted = planted_arena(tmp_path)
    host = create_host(planted.runs, planted.runs.config, None, planted.arena)
    with TestClient(host, base_url=HERE) as client:
        tab = Tab(host, NOBODY, cookie(ANNA))
        assert "gac-account" not in tab.parts
        assert tab.prompts() == []
        assert client.get("/login/huggingface").status_code == 403
        assert client.get("/logout").status_code == 403
