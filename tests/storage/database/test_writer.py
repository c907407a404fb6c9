"""The writing thread alone: order, retries, what is counted as lost, and its end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from gac_app.errors import NotFoundError, StorageError
from gac_app.storage.database import writer as writer_module
from gac_app.storage.database.writer import Writer
from tests.fakes import WAIT_S


@pytest.fixture
def writer() -> Iterator[Writer]:
    writer = Writer(retry_s=WAIT_S)
    yield writer
    writer.close(WAIT_S)


@pytest.mark.parametrize(
    ("error", "num_errors"),
    [
        (NotFoundError("no such run"), 0),
        (StorageError("broken"), 1),
        (ValueError("xyzzy"), 1),
        (KeyboardInterrupt(), 1),
    ],
)
def test_an_error_of_the_work_is_the_futures(
    error: BaseException, num_errors: int, writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise error

    assert writer.submit(fail).exception(WAIT_S) is error
    assert writer.submit(lambda: 3).result(WAIT_S) == 3, "the thread goes on"
    assert writer.num_errors == num_errors
    assert ("a write was lost" in caplog.text) is bool(num_errors)
    assert "xyzzy" not in caplog.text


def test_so_many_writes_wait_and_no_more(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "_MAX_WAITING", 2)
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> Any:
        begun.set()
        go_on.wait(WAIT_S)

    writer.submit(wait)
    assert begun.wait(WAIT_S)
    waiting = [writer.submit(lambda: 1) for _ in range(3)]
    assert [future.done() for future in waiting] == [False, False, True]
    with pytest.raises(StorageError, match="not saved: the store has too many writes waiting"):
        waiting[2].result(0)
    assert writer.num_errors == 1
    go_on.set()
    assert [future.result(WAIT_S) for future in waiting[:2]] == [1, 1]
