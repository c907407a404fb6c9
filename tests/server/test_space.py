"""`app.py` with the variables of a Hugging Face Space, under its name, with a GPU that is lent and without.

Visitors sign in (`hf_oauth: true`) through the Space's proxy, by the provider that its variables name.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from gac_app.config import Config
from gac_app.decoding.trace import FinishedEvent
from gac_app.loading import load_ensemble
from gac_app.storage import Store
from tests.fakes import WAIT_S
from tests.server.fake_provider import USER, Provider, provided
from tests.server.site import ROOT, Tab, free_port, process_of
from tests.services.house import until
from tests.services.mirror.test_mirror import lines

pytestmark = [pytest.mark.process, pytest.mark.slow]

HOST, KEY = "me-gac.hf.space", "c" * 64
STRANGER = "e" * 64  # the key of a visitor who never signs in
CONFIG = """
members: [{name: a, source: "random:1"}, {name: b, source: "random:2"}]
settings: {mode: every-step, max_new_tokens: 12}
"""


class Browser(Tab):
    """Through the proxy of a Space."""

    def __init__(self, port: int, key: str = KEY) -> None:
        headers = {"Host": HOST, "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
        self.port = port
        super().__init__(httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=WAIT_S), key)

    def open(self) -> None:
        self.page = self.http.get("/", params={"__theme": "dark", "__sign": "a-secret-signature"})
        modules = re.search(r'<script type="module" src="\./(scripts/[^"]+)"', self.page.text)
        assert modules, self.page.text[:2000]
        assert self.http.get(f"/{modules[1]}").is_success
        super().open()

    def vote(self, *, consents: bool) -> str:
        """The id of a battle that is voted on."""
        said = self.event("gac-arena", "start", prompt="Name three colours", again="", consents=consents)
        found = re.search(r'"id":"([0-9a-f]{32})"', said.replace("\\", ""))
        assert found, said[-2000:]
        version = self.call("gac-arena", "look_battle", battle=found[1])["state"]["version"]
        self.call("gac-arena", "vote_battle", battle=found[1], outcome="left", version=version)
        return found[1]


class Space:
    """Starts servers that share a mirror, each with a database of its own; they have `more` variables."""

    def __init__(self, folder: Path, more: Mapping[str, str]) -> None:
        self.folder, self.more = folder, more
        (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
        packages = folder / "packages"
        (packages / "spaces").mkdir(parents=True)
        shutil.copy(ROOT / "tests" / "server" / "stub_spaces.py", packages / "spaces" / "__init__.py")
        # Gradio's launch looks for these on a Space.
        (packages / "spaces" / "reloading.py").write_text("def start_reload_server(**_): ...\n")
        (packages / "spaces-0.51.3.dist-info").mkdir()
        (packages / "spaces-0.51.3.dist-info" / "METADATA").write_text("Name: spaces\nVersion: 0.51.3\n")

    def environ(self, name: str, port: int, is_zero: bool) -> dict[str, str]:
        folders = {"STUB_SPACES_LOG": str(self.folder / "gpu.jsonl"), "PYTHONPATH": str(self.folder / "packages")}
        zero = {"SPACES_ZERO_GPU": "true", "GAC_TRUSTED_HOSTS": HOST, **folders}
        own = {key: value for key, value in os.environ.items() if not key.startswith(("GAC_", "GRADIO_"))}
        own |= {"SPACE_ID": "me/gac", "SPACE_HOST": HOST, "SYSTEM": "spaces", "GAC_PORT": str(port)}
        own |= {"GAC_TRUSTED_PROXIES": "127.0.0.1", "GAC_DATABASE_URL": f"sqlite:///{self.folder / name}.db"}
        for variable, place in (("CONFIG", "config.yaml"), ("CACHE", "cache"), ("MIRROR", "mirror")):
            own[f"GAC_{variable}"] = str(self.folder / place)
        return {**own, **(zero if is_zero else {}), **self.more}

    @contextmanager
    def serving(self, name: str, *, is_zero: bool) -> Iterator[Browser]:
        """A server that is ready, with the database of that name; ended as a Space ends it."""
        port, log = free_port(), self.folder / f"{name}.log"
        url = f"http://127.0.0.1:{port}"
        with process_of(["app.py"], url, log, self.environ(name, port, is_zero), HOST) as process:
            ready = partial(httpx.get, f"{url}/readyz", headers={"Host": HOST})
            until(lambda: ready().json()["mirror"]["is_restored"], "for the mirror")
            yield Browser(port)
            process.send_signal(signal.SIGTERM)
            assert process.wait(WAIT_S) is not None
        said = log.read_text("utf-8")
        assert "a-secret-signature" not in said
        assert "Traceback" not in said, said

    def lent(self) -> list[dict[str, Any]]:
        """What was asked of the GPU."""
        return [json.loads(line) for line in (self.folder / "gpu.jsonl").read_text().splitlines()]

    def mirrored(self) -> list[dict[str, Any]]:
        return lines(self.folder)


def check_doors(browser: Browser) -> None:
    """A Space's own name and frame are let in, others are not."""
    page = browser.page
    frames = "frame-ancestors 'self' https://huggingface.co https://*.hf.space"
    assert frames in page.headers["content-security-policy"]
    assert "SameSite=None; Secure; Partitioned" in page.headers["set-cookie"]
    assert browser.http.get("/", headers={"Host": "elsewhere.example"}).status_code == 400
    assert browser.http.get("/", headers={"Origin": "https://elsewhere.example"}).status_code == 403
    assert browser.http.get("/", headers={"Origin": f"https://{HOST}"}).status_code == 200
    assert browser.http.get("/healthz").json() == {"status": "ok"}


def answers_and_keeps(space: Space, browser: Browser) -> str:
    """The id of a battle that is voted on and mirrored. Nothing was mirrored before."""
    browser.run("Not to be published")
    assert [one["status"] for one in browser.history()] == ["finished"]
    assert space.mirrored() == []
    return published(space, browser)


def published(space: Space, browser: Browser) -> str:
    """As `Browser.vote`, in the mirror."""
    battle = browser.vote(consents=True)
    until(lambda: any(line.get("battle_id") == battle for line in space.mirrored()), "for the vote")
    return battle


def comes_back(space: Space, browser: Browser, battle: str) -> None:
    """To a server with an empty database."""
    assert browser.history() == []
    found = browser.call("gac-arena", "own_battles")
    assert (found["num"], [one["id"] for one in found["battles"]]) == (1, [battle])
    browser.call("gac-history", "delete_all")
    assert battle in space.mirrored()[-1]["deleted"]


def digests_by_themselves(prompt: str, cache: Path) -> dict[str, str]:
    """The digests of the answers that the library gives in this process."""
    config = Config.model_validate({**yaml.safe_load(CONFIG), "cache_dir": cache})
    found = {}
    with closing(load_ensemble(config)) as ensemble:
        for system in ("ensemble", "a", "b"):
            *_, end = ensemble.generate(prompt, config.settings, alone=None if system == "ensemble" else system)
            assert isinstance(end, FinishedEvent)
            found[system] = end.digest
    return found


def gives_the_same_answers(space: Space, browser: Browser) -> None:
    """As the library in this process does, in one process that asks for the GPU."""
    before = len(space.lent())
    browser.run("Name three colours")
    own = browser.history()[0]["id"]
    with closing(Store(f"sqlite:///{space.folder / 'first.db'}", server="")) as store:
        (run,) = [run for run in store.export() if run["run_id"] == own]
        digests = {answer["system"]: answer["digest"] for answer in run["answers"]}
    assert digests == digests_by_themselves("Name three colours", space.folder / "own")

    def stop() -> None:
        browser.call("gac-board", "stop_run", run=browser.history()[0]["id"])

    said = browser.run("Go on and on", stop, max_new_tokens=4000)
    assert [run["status"] for run in browser.history()] == ["aborted", "finished"], said
    browser.run("And again")
    assert [run["status"] for run in browser.history()] == ["finished", "aborted", "finished"]
    asked = space.lent()[before:]
    assert [one["client"] for one in asked] == ["203.0.113.9"] * 3
    assert len({one["pid"] for one in asked}) == 1
    assert [one["seconds"] for one in asked] == [15, 120, 15]


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


def test_visitors_come_back_from_a_lent_gpu_to_another_server(tmp_path: Path) -> None:
    """Without a GPU. One test, since each server takes ten seconds of a core to start."""
    with provided() as provider:
        space = Space(tmp_path, provider.variables)
        with space.serving("first", is_zero=True) as laptop:
            check_doors(laptop)
            of_stranger = answers_and_keeps(space, Browser(laptop.port, STRANGER))
            gives_the_same_answers(space, Browser(laptop.port, "f" * 64))
            own = signs_in_and_out(space, provider, laptop)
        with space.serving("second", is_zero=False) as tablet:
            check_doors(tablet)
            comes_back(space, Browser(tablet.port, STRANGER), of_stranger)
            assert tablet.history() == []
            sign_in(tablet)
            comes_back(space, tablet, own)
    stored = b"".join(file.read_bytes() for file in tmp_path.glob("first.db*"))
    assert USER["sub"].encode() not in stored
    assert b"lovelace" not in stored.lower()
    assert USER["sub"] not in (tmp_path / "first.log").read_text("utf-8")


def signs_in_and_out(space: Space, provider: Provider, laptop: Browser) -> str:
    """The id of a battle of the visitor who signed in."""
    laptop.run("Before signing in")
    provider.is_refusing = True
    assert sign_in(laptop) == "/?sign-in=failed"
    assert name_in(laptop) == ""
    provider.is_refusing = False
    assert sign_in(laptop) == "/"
    assert name_in(laptop) == "lovelace"
    assert laptop.history() == []
    laptop.run("Signed in")
    (run,) = laptop.history()
    phone = Browser(laptop.port, "d" * 64)
    assert phone.history() == []
    sign_in(phone)
    assert [one["id"] for one in phone.history()] == [run["id"]]
    battle = published(space, phone)
    sign_out(phone)
    assert name_in(phone) == ""
    assert phone.history() == []
    sign_out(laptop)
    assert [one["prompt"] for one in laptop.history()] == ["Before signing in"]
    return battle
