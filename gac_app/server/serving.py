"""Running the host until it is told to stop, and being gone soon after."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from types import FrameType

import uvicorn
from fastapi import FastAPI

from gac_app.config import ServerConfig
from gac_app.errors import GacError

DRAIN_S = 3  # for open streams to end by themselves
GONE_S = 9.0  # from the signal; a forward pass in C cannot be interrupted, so the process may have to be


def _is_news(record: logging.LogRecord) -> bool:
    """False for the traces of streams that were cut off because the host shuts down: every open page has one."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


class _Server(uvicorn.Server):
    """Leaves `GONE_S` seconds after a signal, whatever still computes."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            watchdog = threading.Timer(GONE_S, os._exit, args=(1,))
            watchdog.daemon = True
            watchdog.start()
        super().handle_exit(sig, frame)


def serve_host(host: FastAPI, config: ServerConfig) -> None:
    """Serve until SIGINT or SIGTERM, from the main thread.

    Logs go to the root logger and hold no visitor's address: uvicorn's access log is off, and no proxy header is
    believed.

    Raises:
        GacError: the address cannot be listened on; uvicorn has logged why.
    """
    server = _Server(
        uvicorn.Config(
            host,
            host=config.host,
            port=config.port,
            log_config=None,
            log_level="info",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=DRAIN_S,
        )
    )
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    try:
        server.run()
    except KeyboardInterrupt:
        pass  # SIGINT, after everything was closed
    except SystemExit:
        raise GacError(f"cannot serve on {config.host}, port {config.port}; --port takes another one") from None
