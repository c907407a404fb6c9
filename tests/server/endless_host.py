"""A host that will not end: its page streams for ever, and so does closing its services.

`python -m tests.server.endless_host PORT`
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator

import gradio

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


def main(port: int) -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    with gradio.Blocks() as page:
        gradio.Button().click(count, None, gradio.Textbox(), api_name="count")
    config = ServerConfig(port=port)
    host = bare_host(EndlessService(), config)  # type: ignore[arg-type]
    mount_page(host, page, {})
    serve_host(host, config)


if __name__ == "__main__":
    main(int(sys.argv[1]))
