"""/livez, /readyz and /metrics."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

log = structlog.get_logger()

# (is it ready, the reasons and states behind that)
Readiness = Callable[[], tuple[bool, dict[str, Any]]]


async def _nothing() -> None:
    pass


def create_app(
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
async def serve(app: web.Application, host: str, port: int) -> AsyncIterator[None]:
    """Serve while inside. A port that is taken costs the endpoints, not the deliveries."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            log.error(
                "health_unavailable",
                address=f"{host}:{port}",
                error=error.strerror,
                fix="set HTTP_PORT to a free port, or to 0 for none",
            )
        yield
    finally:
        await runner.cleanup()
