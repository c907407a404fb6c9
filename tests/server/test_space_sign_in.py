"""Visitors sign in to a Space with `hf_oauth: true`, through its proxy, by the provider that its variables name."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.server.fake_provider import USER, Provider, provided
from tests.server.test_space import HOST, Browser, Space, until

pytestmark = [pytest.mark.process, pytest.mark.slow]


def follow(browser: Browser, address: str) -> httpx.Response:
    """Ask the Space for an address of its own, with the cookie that a browser would keep over HTTPS."""
    parts = urlsplit(address)
    assert not parts.netloc or (parts.scheme, parts.netloc) == ("https", HOST)
    answer = browser.http.get(f"{parts.path}?{parts.query}")
    for line in answer.headers.get_list("set-cookie"):
        name, _, value = line.partition(";")[0].partition("=")
        if name == "session":
            assert "samesite=none" in line.lower()
            assert "secure" in line.lower()
            browser.http.headers["cookie"] = f"session={value}"
    return answer


def sign_in(browser: Browser) -> str:
    """Where it ends, on a page loaded anew."""
    to_provider = follow(browser, "/login/huggingface?_target_url=/").headers["location"]
    back = httpx.get(to_provider).headers["location"]
    end = str(follow(browser, back).headers["location"])
    browser.open()
    return end


def sign_out(browser: Browser) -> None:
    follow(browser, "/logout?_target_url=/")
    browser.open()


def name_in(browser: Browser) -> str:
    return str(browser.call("gac-account", "who_is_signed_in")["name"])


def another(browser: Browser, key: str) -> Browser:
    """Another browser on the same Space."""
    other = Browser(browser.http.base_url.port or 0, key)
    other.open()
    return other


@pytest.mark.parametrize("is_zero", [False, True], ids=["cpu", "zero-gpu"])
def test_a_visitor_signs_in_and_is_the_same_in_another_browser(tmp_path: Path, is_zero: bool) -> None:
    with provided() as provider:
        space = Space(tmp_path, is_zero, more=provider.variables)
        run = signs_in_and_out(space, provider)
        if not is_zero:  # what a server restores depends on no GPU
            comes_back(space, run)
    log = (tmp_path / "first.log").read_text("utf-8")
    stored = b"".join(file.read_bytes() for file in tmp_path.glob("first.db*"))
    assert USER["sub"].encode() not in stored
    assert b"Ada" not in stored
    assert USER["sub"] not in log


def signs_in_and_out(space: Space, provider: Provider) -> str:
    """The id of a run of the visitor who signed in."""
    with space.serving("first") as laptop:
        laptop.run("Before signing in")
        provider.is_refusing = True
        assert sign_in(laptop) == "/?sign-in=failed"
        assert name_in(laptop) == ""
        provider.is_refusing = False
        assert sign_in(laptop) == "/"
        assert name_in(laptop) == "ada"
        assert laptop.history() == []
        laptop.call("gac-consent", "set_consent", consents=True)
        laptop.run("Signed in")
        (run,) = laptop.history()
        phone = another(laptop, "d" * 64)
        assert phone.history() == []
        sign_in(phone)
        phone.call("gac-consent", "set_consent", consents=True)
        assert [one["id"] for one in phone.history()] == [run["id"]]
        phone.call("gac-board", "vote_run", run=run["id"], outcome="ensemble")
        until(lambda: any(line.get("vote") for line in space.mirrored()), "for the vote")
        sign_out(phone)
        assert name_in(phone) == ""
        assert phone.history() == []
        sign_out(laptop)
        assert [one["prompt"] for one in laptop.history()] == ["Before signing in"]
    return str(run["id"])


def comes_back(space: Space, run_id: str) -> None:
    with space.serving("second") as tablet:  # with an empty database
        assert tablet.history() == []
        sign_in(tablet)
        assert [(one["id"], one["outcome"]) for one in tablet.history()] == [(run_id, "ensemble")]
        tablet.call("gac-history", "delete_all")
        assert run_id in space.mirrored()[-1]["deleted"]["runs"]
