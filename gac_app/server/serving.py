"""Running the host until it is told to stop, and being gone soon after."""

from __future__ import annotations

import os
import threading
from types import FrameType

import uvicorn
from fastapi import FastAPI

from gac_app.config import ServerConfig

DRAIN_S = 3  # for open streams to end by themselves
GONE_S = 9.0  # from the signal; a forward pass in C cannot be interrupted, so the process may have to be


class _Server(uvicorn.Server):
    """Leaves `GONE_S` seconds after a signal, whatever still computes."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            watchdog = threading.Timer(GONE_S, os._exit, args=(1,))
            watchdog.daemon = True
            watchdog.start()
        super().handle_exit(sig, frame)


def serve_host(host: FastAPI, config: ServerConfig) -> None:
    """Serve until SIGINT or SIGTERM.

    Logs go to the root logger and hold no visitor's address: uvicorn's access log is off, and no proxy header is
    believed.
    """
    _Server(
        uvicorn.Config(
            host,
            host=config.host,
            port=config.port,
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=DRAIN_S,
        )
    ).run()
