"""The dashboard as a demo's page: over the demo's stack, with its panes beside."""

import io
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from realtime_bridge.commands.check.command import gather
from realtime_bridge.commands.dashboard.command import LOOPBACK, serving
from realtime_bridge.commands.dashboard.server import Dashboard
from realtime_bridge.commands.dashboard.stage import Seen, Stage
from realtime_bridge.database import renewing_rpc
from realtime_bridge.observe import configure_logging
from realtime_bridge.settings import Source, parse


@asynccontextmanager
async def demo_dashboard(
    environment: Mapping[str, str],
    panes: str,
    seen: Callable[[], Awaitable[Mapping[int, Seen]]],
) -> AsyncIterator[Callable[[], str]]:
    """Serve on any free port; yields what makes the address to open, which is good once.

    `environment` has the settings of the demo's bridge; `panes` and `seen` are as of a Stage.
    """
    settings = parse(environment)
    # The terminal is the demo's screen, and the bridge's log is a process's of its own.
    configure_logging("CRITICAL", redact=settings.redact, stream=io.StringIO())

    source = Source(environment)
    async with renewing_rpc(settings) as rpc:
        dashboard = Dashboard(rpc, settings, (), lambda: gather(source), Stage(panes, seen))
        async with serving(dashboard, socket.create_server((LOOPBACK, 0))) as address:
            yield address
