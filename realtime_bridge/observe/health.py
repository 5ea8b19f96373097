"""/livez, /readyz and /metrics.

Anybody who reaches the port may ask, and must not slow deliveries down: connections are few and
short, and stopping waits for none of them.
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

# Each takes a file descriptor, and deliveries need some too.
MAX_CONNECTIONS = 32
_IDLE_SECONDS = 10.0
_STOP_SECONDS = 0.5


class _DropBadRequests(logging.Filter):
    """Drops what aiohttp logs of malformed requests: a traceback, with the request's text in it."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


_server_log = logging.getLogger(f"{__name__}.server")
_server_log.addFilter(_DropBadRequests())

# Whether the bridge is ready, and the reasons and states behind that.
Readiness = Callable[[], tuple[bool, dict[str, Any]]]


async def _nothing() -> None:
    pass


def health_app(
    readiness: Readiness,
    registry: CollectorRegistry,
    refresh: Callable[[], Awaitable[None]] = _nothing,
) -> web.Application:
    """Build the application; /livez proves just that it answers.

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
    app: web.Application, host: str, port: int, *, idle_timeout: float = _IDLE_SECONDS
) -> AsyncIterator[None]:
    """Serve inside the context; a port that is taken is logged, and costs only the endpoints.

    `idle_timeout`: seconds for the head of a request to arrive, and between two on one connection.
    """
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_server_log,
        keepalive_timeout=idle_timeout,
        lingering_time=0.0,
        shutdown_timeout=_STOP_SECONDS,
    )
    await runner.setup()
    listener = None
    try:
        try:
            listener = await asyncio.get_running_loop().create_server(
                _BoundedServer(runner.server), host, port, backlog=MAX_CONNECTIONS
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
        if listener is not None:
            listener.close()
        await runner.cleanup()


class _BoundedServer:
    """Accepts every connection, and drops the oldest one when there are too many.

    So a client that holds connections open cannot keep a probe from its answer.
    """

    def __init__(self, server: web.Server | None) -> None:
        if server is None:
            raise RuntimeError("the runner has not been set up")
        self._server = server

    def __call__(self) -> asyncio.Protocol:
        transports = [handler.transport for handler in self._server.connections]
        open_ = [one for one in transports if one is not None and not one.is_closing()]
        for oldest in open_[: max(0, len(open_) - MAX_CONNECTIONS + 1)]:
            oldest.abort()
        return self._server()
