"""A double of the Telegram Bot API, which keeps the messages it accepts."""

from aiohttp import web

from tma_sandbox.botapi.api import BotApi
from tma_sandbox.botapi.rate_limiter import Rates
from tma_sandbox.origin_guard import guard_origin

__all__ = ["BotApi", "Rates", "create_app"]


def create_app(api: BotApi | None = None) -> web.Application:
    """A Bot API server by itself, without the rest of the stack."""
    api = api or BotApi()
    app = web.Application(middlewares=[guard_origin])
    app.add_routes(api.routes())
    app.on_shutdown.append(api.close)
    return app
