"""/livez, /readyz and /metrics.

Whoever reaches the port may ask, and must cost the deliveries nothing by it: connections are few
and end soon, and a stop waits for none.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

log = structlog.get_logger()

# Each takes a file descriptor, of which the deliveries need some too.
MOST_CONNECTIONS = 32
_PATIENCE_SECONDS = 10.0
_STOP_SECONDS = 0.5


class _NotTheirNoise(logging.Filter):
    """Drops what aiohttp tells of requests that are none: with a traceback, and their text."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


_server_log = logging.getLogger(f"{__name__}.server")
_server_log.addFilter(_NotTheirNoise())

# (is it ready, the reasons and states behind that)
Readiness = Callable[[], tuple[bool, dict[str, Any]]]


async def _nothing() -> None:
    pass


def health_app(
    readiness: Readiness,
    registry: CollectorRegistry,
    refresh: Callable[[], Awaitable[None]] = _nothing,
) -> web.Application:
    """Build the application; answering at all is what /livez proves.

    `refresh()` is awaited before the metrics are read.
    """

    async def livez(_: web.Request) -> web.Response:
        return web.json_response({"live": True})

    async def readyz(_: web.Request) -> web.Response:
        ready, details = readiness()
        return web.json_response({"ready": ready, **details}, status=200 if ready else 503)

    async def metrics(_: web.Request) -> web.Response:
        await refresh()
        return web.Response(
            body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    app = web.Application()
    app.add_routes(
        [web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)]
    )
    return app


@asynccontextmanager
async def serve(
    app: web.Application, host: str, port: int, *, patience: float = _PATIENCE_SECONDS
) -> AsyncIterator[None]:
    """Serve while inside. A port that is taken costs the endpoints, not the deliveries.

    `patience`: seconds for the head of a request to arrive, and between two on one connection.
    """
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_server_log,
        keepalive_timeout=patience,
        lingering_time=0.0,
        shutdown_timeout=_STOP_SECONDS,
    )
    await runner.setup()
    listening = None
    try:
        try:
            listening = await asyncio.get_running_loop().create_server(
                _Door(runner.server), host, port, backlog=MOST_CONNECTIONS
            )
        except OSError as error:
            log.error(
                "health_unavailable",
                address=f"{host}:{port}",
                error=error.strerror,
                fix="set HTTP_PORT to a free port, or to 0 for none",
            )
        yield
    finally:
        if listening is not None:
            listening.close()
        await runner.cleanup()


class _Door:
    """Lets everybody in, and for one too many the one who has been there longest out.

    So who holds connections open, and sends nothing, does not keep a probe from its answer.
    """

    def __init__(self, server: web.Server | None) -> None:
        if server is None:
            raise RuntimeError("the runner has not been set up")
        self._server = server

    def __call__(self) -> asyncio.Protocol:
        transports = [handler.transport for handler in self._server.connections]
        there = [one for one in transports if one is not None and not one.is_closing()]
        for one in there[: max(0, len(there) - MOST_CONNECTIONS + 1)]:
            one.abort()
        return self._server()
