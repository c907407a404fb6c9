"""A host that will not end: its page streams for ever, and so does closing its services.

`python -m tests.server.endless_host PORT [NUM_BUSY]`: from SIGUSR1 on, NUM_BUSY threads want the interpreter all
the time.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator

from gac_app.config import ServerConfig
from gac_app.server.host import bare_host, mount_page
from gac_app.server.serving import serve_host
from tests.server.fakes import FakeService


class EndlessService(FakeService):
    def close(self) -> None:
        logging.info("closing the services")
        time.sleep(600)


def count() -> Iterator[str]:
    for number in range(10**9):
        yield str(number)
        # As a forward pass would: long, and nothing can interrupt it.
        time.sleep(0.1 if number < 3 else 600)


def spin() -> None:
    while True:
        sum(range(10**5))


def main(port: int, num_busy: int = 0) -> None:
    import gradio  # after gac_app.ui, which spares it some work

    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    with gradio.Blocks() as page:
        gradio.Button().click(count, None, gradio.Textbox(), api_name="count")
    config = ServerConfig(port=port)
    host = bare_host(EndlessService(), config)  # type: ignore[arg-type]
    mount_page(host, page, {})

    def get_busy(*_: object) -> None:
        for _ in range(num_busy):
            threading.Thread(target=spin, daemon=True).start()

    signal.signal(signal.SIGUSR1, get_busy)
    serve_host(host, config)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
