"""Who signs in is the same visitor in every browser, and only the host's own signed cookie says who it is."""

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
from tests.server.fake_provider import SECRET, Provider, offering_sign_in
from tests.server.site import API, served
from tests.services.house import until
from tests.ui.planted import Planted, planted_arena

ANNA = "1111aaaa"


def cookie(number: str, secret: str = SECRET, **changes: Any) -> str:
    """As Gradio's host sets it, once somebody has signed in."""
    user = {"sub": number, "preferred_username": f"name-of-{number}"}
    session = {"oauth_info": {"userinfo": user, "expires_at": time.time() + 3600, **changes}}
    signer = TimestampSigner(hashlib.sha256(f"{secret}-v4".encode()).hexdigest())
    return signer.sign(b64encode(json.dumps(session).encode())).decode()


class Tab:
    """A page in some browser; `session` is what its browser has of Gradio's cookie."""

    def __init__(self, url: str, session: str = "", key: str = "") -> None:
        self.http = httpx.Client(base_url=url, timeout=60)
        self.key, self.name = key or secrets.token_hex(32), secrets.token_hex(5)
        self.headers = {"cookie": f"session={session}"} if session else {}
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
        self.join(event, data=[self.key, None, prompt, {}])

    def battle(self, prompt: str) -> None:
        start = [self.parts["gac-arena"], "start"]
        (event,) = [one for one in self.config["dependencies"] if start in one["targets"]]
        self.join(event, data=[], event_data={"key": self.key, "prompt": prompt, "again": "", "consents": True})

    def join(self, event: dict[str, Any], **sent: Any) -> None:
        body = {"fn_index": event["id"], "session_hash": self.name, **sent}
        assert self.http.post(f"{API}/queue/join", json=body, headers=self.headers).status_code == 200
        address = f"{API}/queue/data?session_hash={self.name}"
        with self.http.stream("GET", address, headers=self.headers) as stream:
            assert any("process_completed" in line for line in stream.iter_lines())

    def prompts(self) -> list[str]:
        fields = dict.fromkeys(("search", "outcome", "mode", "member", "since", "before"), "")
        found = self.call("gac-history", "list_conversations", offset=0, sort="newest", is_starred=False, **fields)
        return [run["prompt"] for conversation in found["conversations"] for run in conversation["runs"]]


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


def test_who_is_signed_in_finds_the_same_in_every_browser(host: Host, anna: str) -> None:
    home, work = Tab(host.url, cookie(anna)), Tab(host.url, cookie(anna))
    home.run("From home")
    until(lambda: home.prompts() == ["From home"], "for the run")
    assert work.prompts() == ["From home"]
    assert Tab(host.url, cookie("somebody else")).prompts() == []
    assert work.call("gac-account", "who_is_signed_in")["name"] == f"name-of-{anna}"


def test_what_a_browser_did_before_stays_in_it(host: Host, anna: str) -> None:
    before = Tab(host.url)
    before.run("Before")
    until(lambda: before.prompts() == ["Before"], "for the run")
    assert before.call("gac-account", "who_is_signed_in") == {"is_signed_in": False, "name": "", "left_s": None}
    assert Tab(host.url, cookie(anna), before.key).prompts() == []
    assert Tab(host.url, key=before.key).prompts() == ["Before"], "signed out again"


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
def test_only_a_signed_cookie_tells_who_it_is(host: Host, session: str) -> None:
    home = Tab(host.url, cookie(ANNA))
    home.run("From home")
    until(home.prompts, "for the run")
    other = Tab(host.url, session)
    assert other.prompts() == []
    assert not other.call("gac-account", "who_is_signed_in")["is_signed_in"]


def test_no_header_and_no_field_tells_who_it_is(host: Host, anna: str) -> None:
    Tab(host.url, cookie(anna)).run("From home")
    other = Tab(host.url)
    other.headers = {"x-hf-user": anna, "authorization": f"Bearer {anna}", "x-account": anna, "sub": anna}
    for fields in ({"account": {"key": "d" * 64}}, {"sub": anna}, {"oauth_info": {"userinfo": {"sub": anna}}}):
        assert not other.call("gac-account", "who_is_signed_in", **fields)["is_signed_in"]
    assert other.prompts() == []


def test_nothing_stored_names_the_account(host: Host, anna: str) -> None:
    home = Tab(host.url, cookie(anna))
    home.run("From home")
    until(lambda: home.prompts() == ["From home"], "for the run")
    files = b"".join(file.read_bytes() for file in host.folder.iterdir() if file.is_file())
    assert anna.encode() not in files
    assert b"name-of" not in files
    Tab(host.url, cookie(anna)).call("gac-history", "delete_all")
    assert home.prompts() == []


def test_battles_and_votes_are_the_account_s(host: Host, anna: str) -> None:
    home, work = Tab(host.url, cookie(anna)), Tab(host.url, cookie(anna))
    home.run("From home")
    until(home.prompts, "for the run")
    fields = dict.fromkeys(("search", "outcome", "mode", "member", "since", "before"), "")
    found = work.call("gac-history", "list_conversations", offset=0, sort="newest", is_starred=False, **fields)
    (run,) = found["conversations"][0]["runs"]
    assert "error" not in work.call("gac-board", "vote_run", run=run["id"], outcome="ensemble")
    home.battle("A battle from home")
    assert "A battle from home" in [one.body["turns"][0]["prompt"] for one in host.planted.store.battles.export()]
    assert len({one.visitor for one in host.planted.store.battles.export()}) == 1
    assert Tab(host.url, key=home.key).call("gac-arena", "own_battles")["num"] == 0


def test_every_browser_has_to_agree_to_publishing(host: Host, anna: str) -> None:
    def published() -> bool:
        lines = host.planted.store.export()
        return bool(list(lines)[-1]["consent"])

    home, work = Tab(host.url, cookie(anna)), Tab(host.url, cookie(anna))
    home.call("gac-consent", "set_consent", consents=False)
    work.call("gac-consent", "set_consent", consents=True)
    home.run("Not agreed to here")
    assert not published()
    home.call("gac-consent", "set_consent", consents=True)
    home.run("Agreed to everywhere")
    assert published()


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
        tab = Tab(url, cookie(ANNA))
        assert "gac-account" not in tab.parts
        assert tab.prompts() == []
        assert tab.http.get("/login/huggingface").status_code == 403
        assert tab.http.get("/logout").status_code == 403
