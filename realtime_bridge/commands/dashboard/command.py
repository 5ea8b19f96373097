"""`realtime-bridge dashboard`."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from aiohttp import web

from realtime_bridge.commands.check.command import gather
from realtime_bridge.commands.dashboard.access import Access
from realtime_bridge.commands.dashboard.server import Dashboard
from realtime_bridge.commands.status import replicas_of
from realtime_bridge.database import renewing_rpc
from realtime_bridge.settings import Settings

_LOOPBACK = "127.0.0.1"
_STOP_SECONDS = 1.0


async def run_dashboard(
    settings: Settings,
    env_file: Path | None,
    *,
    port: int,
    replicas: Sequence[str],
    echo: Callable[[str], None],
) -> int:
    """Serve the page until cancelled; return the exit code. Port 0 is any free one.

    `echo` is told the addresses to open. They are secrets, and are logged nowhere.
    """
    async with renewing_rpc(settings) as rpc:
        urls = replicas or replicas_of(settings)
        dashboard = Dashboard(rpc, settings, urls, lambda: gather(env_file))
        try:
            listening = socket.create_server((_LOOPBACK, port))
        except OSError as error:
            echo(f"Port {port}: {os.strerror(error.errno or 0)}. Choose another one with --port.")
            return 1
        with listening:
            await _serve(dashboard, listening, echo)
    return 0


async def _serve(
    dashboard: Dashboard, listening: socket.socket, echo: Callable[[str], None]
) -> None:
    """Serve until cancelled."""
    port = listening.getsockname()[1]

    def address() -> str:
        return f"http://{_LOOPBACK}:{port}/?token={access.token}"

    def opened() -> None:
        echo(f"It was opened. For another browser:\n  {address()}")

    access = Access(opened)
    runner = web.AppRunner(
        dashboard.app(access),
        access_log=None,  # it would tell the tokens
        logger=logging.getLogger(__name__),
        shutdown_timeout=_STOP_SECONDS,
    )
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        echo(f"Open this address, which is good once; Ctrl-C ends it:\n  {address()}")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
