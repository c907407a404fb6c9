"""No text of a visitor's in the log, no line over and over again, and as JSON the ids and figures of runs."""

from __future__ import annotations

import errno
import json
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from gradio import queueing

from gac_app import bootstrap
from gac_app.bootstrap import Services, build_services
from gac_app.errors import GacError, MemberError, ModelLoadError, VocabularyError
from gac_app.executors.batch_scheduler import BatchScheduler
from gac_app.server import logs, serving
from gac_app.server.logs import PER_MINUTE, JsonLines, QuietLog, log_ended
from gac_app.services.members import Members, MemberState
from gac_app.services.mirror.mirror import Mirror
from gac_app.services.origin import originating
from tests.api.site import Site, chat_body
from tests.command_line import run_command
from tests.fakes import WAIT_S, config_of
from tests.server.site import Tab, free_port
from tests.services.conftest import house as house
from tests.services.house import ALICE, House, answer, ended, until

SECRET = "a secret prompt"


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.addFilter(QuietLog())

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def kept() -> Kept:
    return Kept()


def logger_with(kept: Kept, name: str) -> logging.Logger:
    logger = logging.Logger(name)
    logger.addHandler(kept)
    return logger


def test_asyncio_shows_no_exception_of_a_task(kept: Kept) -> None:
    logger_with(kept, "asyncio").error("Task exception was never retrieved\nfuture: <Task %s>", SECRET)
    assert kept.lines == ["Task exception was never retrieved"]


@pytest.mark.parametrize("name", ["root", "uvicorn.error", "asyncio", "gradio", "gac_app.executors.threads"])
def test_no_logger_tells_what_an_exception_says(kept: Kept, name: str) -> None:
    logger = logger_with(kept, name)
    for error in (VocabularyError(f"cannot encode {SECRET!r}"), MemberError("a", "exception", SECRET), OSError(SECRET)):
        try:
            raise error from ValueError(SECRET)
        except (GacError, OSError):
            logger.exception("it broke")
            logger.debug(error)
            logger.info("why: %s", error)
            logger.info("why: %(it)s", {"it": error})
            logger.info("why: %d", SECRET)  # cannot be formatted
    assert len(kept.lines) == 15
    assert SECRET not in "".join(kept.lines)
    assert kept.lines[0].startswith("it broke: VocabularyError at test_logs.py:")


def test_no_text_forges_a_line(kept: Kept) -> None:
    forged = "/a\nERROR forged\r\x1b[2J\x85\u2028\u202e."
    logger_with(kept, "uvicorn.error").info(forged)
    logger_with(kept, "gac_app.server").info("%s", forged)
    assert kept.lines == 2 * [r"/a\nERROR forged\r\x1b[2J\x85\u2028\u202e."]


CONFIG = "members: [{name: a, source: 'random:1'}, {name: b, source: 'random:2'}]\nmirror: {folder: mirror}"
KEY, ADDRESS = "5ec4e7" * 10 + "abcd", "127.0.0.77"


@contextmanager
def served_by_the_command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Services, list[str]]]:
    """The address of a host that `serve` started in this process, its services, and what it told at the end."""
    (folder / "config.yaml").write_text(CONFIG)
    monkeypatch.chdir(folder)
    port, built, servers, told = free_port(), list[Services](), list[serving._Server](), list[str]()

    class Known(serving._Server):
        def __init__(self, config: uvicorn.Config) -> None:
            super().__init__(config)
            servers.append(self)

    def build(*args: Any) -> Services:
        built.append(build_services(*args))
        return built[-1]

    monkeypatch.setattr(serving, "_Server", Known)
    monkeypatch.setattr(bootstrap, "build_services", build)
    variables = {"GAC_DATABASE_URL": f"sqlite:///{folder / 'gac.db'}", "GAC_CACHE": str(folder / "cache")}
    arguments = ("serve", "--config", "config.yaml", "--port", str(port))
    with ThreadPoolExecutor() as pool:
        command = pool.submit(run_command, *arguments, **variables)
        try:
            until(lambda: command.done() or (servers and servers[0].started), "for the host")
            until(lambda: command.done() or built[0].runs.members.are_ready, "for its members")
            yield f"http://127.0.0.1:{port}", built[0], told
        finally:
            servers[0].should_exit = True
            done = command.result(WAIT_S)
    told += [str(done.returncode), done.stdout + done.stderr]


@pytest.mark.slow
def test_the_host_that_serve_starts_logs_no_text_key_or_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At INFO and at DEBUG, whatever visitors ask, and whatever breaks: a member's thread, an event's handler, the
    writer, the mirror, and a thread of whoever it is.
    """

    def broken(*_: object) -> None:
        raise ValueError(SECRET)

    def ask(url: str) -> str:
        transport = httpx.HTTPTransport(local_address=ADDRESS)
        with httpx.Client(base_url=url, transport=transport, headers={"Authorization": f"Bearer {KEY}"}) as client:
            tab = Tab(client, KEY)
            assert "process_completed" in tab.run(SECRET, max_new_tokens=4)
            client.post("/v1/chat/completions", json={**chat_body(max_tokens=4), "user": SECRET}).raise_for_status()
            for path in ("v1/chat/completions", "gradio_api/queue/join"):
                assert client.post(path, content=f'{{"model": "{SECRET}"').status_code in (400, 422)
            assert client.get(f"/{SECRET}", params={"q": SECRET, "key": KEY}).status_code == 404
            return str(tab.history()[0]["excerpt"])

    monkeypatch.setattr(Mirror, "_prepare", broken)
    root = logging.getLogger()
    with served_by_the_command(tmp_path, monkeypatch) as (url, services, told):
        assert root.level == logging.WARNING, "of libraries"
        texts = [ask(url)]
        own = dict.fromkeys(("httpx", "httpcore"), logging.WARNING)  # this test's
        for name, level in {**own, "gac_app": logging.DEBUG, None: logging.DEBUG}.items():
            monkeypatch.setattr(logging.getLogger(name), "level", level)
        root.manager._clear_cache()
        logging.getLogger("a.library").debug("looks closely")
        texts.append(ask(url))
        with pytest.raises(ValueError, match=SECRET):
            services.runs._store.write(broken).result()
        try:
            broken()
        except ValueError:
            queueing.traceback.print_exc()
        thread = threading.Thread(target=broken)
        thread.start()
        thread.join()
        monkeypatch.setattr(BatchScheduler, "idle_s", broken)
        ended(services.runs.start(ALICE, SECRET, {}))
    code, log = told
    assert code == "0"
    assert "looks closely" in log
    for what in ("a write was lost", "mirror cannot be", "a thread broke", "an event of the page broke", "has ended"):
        assert what in log
    for private in (SECRET, KEY, ADDRESS, *texts):
        assert private not in log


def test_what_operators_must_know_stays(kept: Kept) -> None:
    logger = logger_with(kept, "gac_app.bootstrap")
    logger.error("%s", ModelLoadError("a: its file is not whole"))
    logger.error("cannot write: %s", OSError(errno.ENOSPC, SECRET, SECRET))
    assert kept.lines == ["a: its file is not whole", "cannot write: OSError (No space left on device)"]


def test_what_is_alike_is_logged_rarely_and_counted(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(logs.time, "monotonic", lambda: now)
    logger = logger_with(kept, "uvicorn.error")
    for number in range(100):
        logger.warning("Invalid HTTP request received.")
        logger.info("told every time %d", number)
    assert kept.lines.count("Invalid HTTP request received.") == PER_MINUTE
    assert len(kept.lines) == PER_MINUTE + 100
    logger.warning("another")
    assert kept.lines[-1] == "another"
    now += 61
    logger.warning("Invalid HTTP request received.")
    assert kept.lines[-1] == "Invalid HTTP request received. [and 95 more like it]"


# --- as JSON


@pytest.fixture
def lines(kept: Kept, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What is logged, as JSON."""
    kept.setFormatter(JsonLines())
    caplog.set_level(logging.INFO, "gac_app")
    monkeypatch.setattr(logging.getLogger("gac_app"), "handlers", [kept])
    return kept.lines


def test_a_run_that_ends_is_a_record_with_its_ids(house: House, lines: list[str]) -> None:
    service = house.service()
    service.when_ended(log_ended)
    chat = chat_body(messages=[{"role": "user", "content": SECRET}], max_tokens=4)
    with Site.over(service) as here:
        here.client.post("/v1/chat/completions", json=chat, headers={"X-Request-Id": "mine"}).raise_for_status()
    [record] = [json.loads(line) for line in lines if "a run ended" in line]
    assert (record["request_id"], record["level"]) == ("mine", "info")
    assert len(record["run_id"]) == 32
    assert (record["answers"], record["tokens"], record["reasons"]) == (1, 4, ["length"])
    assert SECRET not in "".join(lines)


def test_a_run_of_the_page_has_no_request(house: House, lines: list[str]) -> None:
    run = answer(house.service(), SECRET)
    with originating(request_id="another's", run_id="another"):  # in the thread of another run
        log_ended(run)
    [record] = map(json.loads, lines)
    assert (record["run_id"], record["answers"]) == (run.id, 3)
    assert "request_id" not in record


# --- states of members


def test_a_download_neither_hides_nor_floods(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    monkeypatch.setattr(logs.time, "monotonic", lambda: now)
    log = logs.StateLog()
    with caplog.at_level(logging.INFO, "gac_app"):
        log.log(MemberState("a"))
        for tick in range(60):  # half a minute
            now = 100 + tick / 2
            log.log(MemberState("a", "fetching", progress=tick / 100, bytes_per_s=2e6, notice="terms"))
        log.log(MemberState("a", "loading"))
        log.log(MemberState("a", "loading"))
        log.log(MemberState("a", "failed", detail="no memory"))
    lines = [record.getMessage() for record in caplog.records]
    assert lines[:3] == ["a: waiting", "a: fetching 0 % · 2.0 MB/s (terms)", "a: fetching 10 % · 2.0 MB/s"]
    assert lines[-2:] == ["a: loading", "a: failed: no memory"]
    assert len(lines) == 1 + 6 + 2
    assert caplog.records[-1].levelname == "ERROR"


def test_every_change_of_phase_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "gac_app"):
        members = Members(config_of(["a", "b"]), logs.StateLog().log)
        members.set("a", "loading")
        members.set("b", "loading")
        members.set("a", "ready")
        members.set_failed("no memory")
    told = " ".join(record.getMessage() for record in caplog.records)
    assert told == "a: waiting b: waiting a: loading b: loading a: ready a: failed: no memory b: failed: no memory"
