"""No text of a visitor's in the log, no line over and over again, and as JSON the ids and figures of runs."""

from __future__ import annotations

import errno
import io
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio import queueing

from gac_app.errors import GacError, MemberError, ModelLoadError, VocabularyError
from gac_app.executors.batch_scheduler import BatchScheduler
from gac_app.server import logs
from gac_app.server.logs import PER_MINUTE, JsonLines, QuietLog, log_ended, texts_kept_out
from gac_app.services.members import Members, MemberState
from gac_app.services.mirror.places import Place
from gac_app.services.origin import originating
from tests.api.site import Site
from tests.fakes import config_of
from tests.services.conftest import house as house
from tests.services.house import ALICE, House, answer, until
from tests.services.mirror.test_mirror import consenting_run, mirror_of, mirrored

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


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
def test_what_breaks_anywhere_tells_no_text(
    tmp_path: Path, kept: Kept, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, level: int
) -> None:
    """In a member's thread, an event's handler, the writer, the mirror, and a thread of whoever it is."""

    def broken(*_: object) -> None:
        raise ValueError(SECRET)

    root, house = logging.getLogger(), House(tmp_path / "gac.db")
    before = root.level
    root.setLevel(level)
    root.addHandler(kept)
    try:
        with texts_kept_out():
            place = Place(tmp_path / "mirror")
            place.prepare = broken  # type: ignore[method-assign]
            arena = mirrored(house, place)
            consenting_run(arena)
            monkeypatch.setattr(BatchScheduler, "idle_s", broken)
            arena.runs.start(ALICE, SECRET, {})
            with pytest.raises(ValueError, match=SECRET):
                arena.store.write(broken).result()
            try:
                broken()
            except ValueError:
                queueing.traceback.print_exc()
            thread = threading.Thread(target=broken)
            thread.start()
            thread.join()
            until(lambda: mirror_of(arena).num_errors and "the worker of a" in "".join(kept.lines), "for both threads")
        house.close()
    finally:
        root.removeHandler(kept)
        root.setLevel(before)
    told = "\n".join(kept.lines)
    for what in (
        "a write was lost",
        "the mirror cannot be",
        "a thread broke",
        "an event of the page broke",
        "the worker of a has ended",
    ):
        assert what in told
    assert SECRET not in told + capsys.readouterr().err


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
def lines() -> Iterator[io.StringIO]:
    """What is logged, as JSON."""
    told = io.StringIO()
    handler, logger = logging.StreamHandler(told), logging.getLogger("gac_app")
    handler.setFormatter(JsonLines())
    handler.addFilter(QuietLog())
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield told
    logger.removeHandler(handler)
    logger.setLevel(before)


def test_a_run_that_ends_is_a_record_with_its_ids(house: House, lines: io.StringIO) -> None:
    service = house.service()
    service.when_ended(log_ended)
    chat = {"model": "gac", "messages": [{"role": "user", "content": SECRET}], "max_tokens": 4}
    with Site.over(service) as here:
        here.client.post("/v1/chat/completions", json=chat, headers={"X-Request-Id": "mine"}).raise_for_status()
    [record] = [json.loads(line) for line in lines.getvalue().splitlines() if "a run ended" in line]
    assert record["request_id"] == "mine"
    assert len(record["run_id"]) == 32
    assert (record["answers"], record["tokens"], record["reasons"]) == (1, 4, ["length"])
    assert SECRET not in lines.getvalue()


def test_a_run_of_the_page_has_no_request(house: House, lines: io.StringIO) -> None:
    run = answer(house.service(), SECRET)
    with originating(request_id="another's", run_id="another"):  # in the thread of another run
        log_ended(run)
    [record] = map(json.loads, lines.getvalue().splitlines())
    assert (record["run_id"], record["answers"]) == (run.id, 3)
    assert "request_id" not in record


def test_an_exception_is_told_without_its_message(lines: io.StringIO) -> None:
    try:
        raise ValueError(SECRET)
    except ValueError:
        logging.getLogger("gac_app.test").exception("it broke")
    [record] = map(json.loads, lines.getvalue().splitlines())
    assert record["level"] == "error"
    assert record["message"].startswith("it broke: ValueError at test_logs.py")
    assert SECRET not in lines.getvalue()


# --- states of members


def test_a_download_is_neither_silent_nor_a_flood(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
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
