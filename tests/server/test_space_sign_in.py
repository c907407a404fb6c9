"""Visitors sign in to a Space with `hf_oauth: true`, through its proxy, by the provider that its variables name."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.server.fake_provider import USER, Provider, provided
from tests.server.test_space import (
    HOST,
    Browser,
    Space,
    answers_and_keeps,
    check_doors,
    comes_back,
    gives_the_same_answers,
    vote,
)

pytestmark = [pytest.mark.process, pytest.mark.slow]

STRANGER = "e" * 64  # the key of a visitor who never signs in


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


def test_visitors_with_and_without_an_account_come_back(tmp_path: Path) -> None:
    """Both to the same two servers: each takes ten seconds of a core to start."""
    with provided() as provider:
        space = Space(tmp_path, is_zero=False, more=provider.variables)
        with space.serving("first") as laptop:
            check_doors(laptop)
            of_stranger = answers_and_keeps(space, Browser(laptop.port, STRANGER))
            own = signs_in_and_out(space, provider, laptop)
        with space.serving("second") as tablet:
            comes_back(space, Browser(tablet.port, STRANGER), of_stranger)
            assert tablet.history() == []
            sign_in(tablet)
            comes_back(space, tablet, own)
    check_no_name_is_kept(tmp_path)


def test_a_lent_gpu_answers_alike_and_lets_visitors_sign_in(tmp_path: Path) -> None:
    with provided() as provider:
        space = Space(tmp_path, is_zero=True, more=provider.variables)
        with space.serving("first") as laptop:
            check_doors(laptop)
            gives_the_same_answers(space, Browser(laptop.port, STRANGER))
            signs_in_and_out(space, provider, laptop)
    check_no_name_is_kept(tmp_path)


def check_no_name_is_kept(folder: Path) -> None:
    log = (folder / "first.log").read_text("utf-8")
    stored = b"".join(file.read_bytes() for file in folder.glob("first.db*"))
    assert USER["sub"].encode() not in stored
    assert b"lovelace" not in stored.lower()
    assert USER["sub"] not in log


def signs_in_and_out(space: Space, provider: Provider, laptop: Browser) -> str:
    """The id of a run of the visitor who signed in."""
    laptop.run("Before signing in")
    provider.is_refusing = True
    assert sign_in(laptop) == "/?sign-in=failed"
    assert name_in(laptop) == ""
    provider.is_refusing = False
    assert sign_in(laptop) == "/"
    assert name_in(laptop) == "lovelace"
    assert laptop.history() == []
    laptop.call("gac-consent", "set_consent", consents=True)
    laptop.run("Signed in")
    (run,) = laptop.history()
    phone = Browser(laptop.port, "d" * 64)
    assert phone.history() == []
    sign_in(phone)
    phone.call("gac-consent", "set_consent", consents=True)
    assert [one["id"] for one in phone.history()] == [run["id"]]
    vote(space, phone, run["id"])
    sign_out(phone)
    assert name_in(phone) == ""
    assert phone.history() == []
    sign_out(laptop)
    assert [one["prompt"] for one in laptop.history()] == ["Before signing in"]
    return str(run["id"])
