"""`realtime-bridge dashboard`."""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from realtime_bridge.commands.check.command import gather
from realtime_bridge.commands.dashboard.access import Access
from realtime_bridge.commands.dashboard.server import Dashboard
from realtime_bridge.commands.status import replicas_of
from realtime_bridge.database import renewing_rpc
from realtime_bridge.settings import Settings, source_of

LOOPBACK = "127.0.0.1"
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
        source = source_of(env_file=env_file)
        dashboard = Dashboard(rpc, settings, urls, lambda: gather(source))
        try:
            listening = socket.create_server((LOOPBACK, port))
        except OSError as error:
            echo(f"Port {port}: {os.strerror(error.errno or 0)}. Choose another one with --port.")
            return 1

        def opened() -> None:
            echo(f"It was opened. For another browser:\n  {address()}")

        async with serving(dashboard, listening, opened) as address:
            echo(f"Open this address, which is good once; Ctrl-C ends it:\n  {address()}")
            await asyncio.Event().wait()
    return 0


@asynccontextmanager
async def serving(
    dashboard: Dashboard, listening: socket.socket, opened: Callable[[], None] = lambda: None
) -> AsyncIterator[Callable[[], str]]:
    """Serve on a socket, which is closed at the end; yields what makes the address to open.

    It is another one each time one was used, which `opened()` is told.
    """
    port = listening.getsockname()[1]
    access = Access(opened)
    runner = web.AppRunner(
        dashboard.app(access),
        access_log=None,  # it would tell the tokens
        logger=logging.getLogger(__name__),
        shutdown_timeout=_STOP_SECONDS,
    )
    with listening:
        await runner.setup()
        try:
            await web.SockSite(runner, listening).start()
            yield lambda: f"http://{LOOPBACK}:{port}/?token={access.token}"
        finally:
            await runner.cleanup()
