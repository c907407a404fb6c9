"""Runs the host until a signal, and exits soon after."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import logging
import os
from types import FrameType

import uvicorn
from fastapi import FastAPI

from gac_app.config import ServerConfig
from gac_app.errors import GacError
from gac_app.server.limits.connections import Connections, limited_protocol

DRAIN_S = 3  # for open streams to end
GONE_S = 8.0  # after the signal; a forward pass in C cannot be interrupted, so the process may have to exit


def _is_news(record: logging.LogRecord) -> bool:
    """False for traces of streams that the shutdown cut off: every open page has one."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


class _Server(uvicorn.Server):
    """Exits `GONE_S` seconds after a signal, even if something is still computing or loading."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._nowhere = os.open(os.devnull, os.O_WRONLY)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            self.be_gone()
        super().handle_exit(sig, frame)

    def be_gone(self) -> None:
        """Exit `GONE_S` seconds from now."""
        # Its timer runs in C; a Python thread would need the GIL, which may be busy.
        faulthandler.dump_traceback_later(GONE_S, exit=True, file=self._nowhere)


def serve_host(host: FastAPI, config: ServerConfig) -> None:
    """Serve until SIGINT or SIGTERM, from the main thread.

    Logs go to the root logger and have no visitor's address: uvicorn's access log is off. The host handles proxies'
    headers.

    Raises:
        GacError: the server cannot listen on the address; uvicorn logs why.
    """
    server = _Server(
        uvicorn.Config(
            host,
            host=config.host,
            port=config.port,
            http=limited_protocol(Connections(config)),
            ws="none",
            log_config=None,
            log_level="info",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=DRAIN_S,
        )
    )
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    gc.freeze()  # else collecting what was loaded would hold up everybody for half a second
    try:
        server.run()
    except KeyboardInterrupt:
        pass  # SIGINT, when everything is closed
    except SystemExit:
        server.be_gone()  # members may be loading
        raise GacError(f"cannot serve on {config.host}, port {config.port}; --port takes another one") from None
