"""A local Telegram Bot API that keeps what it is sent."""

from aiohttp import web

from tma_sandbox.botapi.api import BotApi
from tma_sandbox.botapi.limits import Rates
from tma_sandbox.visitors import known_visitors

__all__ = ["BotApi", "Rates", "create_app"]


def create_app(api: BotApi | None = None) -> web.Application:
    """A Bot API server of its own, for whoever needs one without the rest of the stack."""
    api = api or BotApi()
    app = web.Application(middlewares=[known_visitors])
    app.add_routes(api.routes())
    app.on_shutdown.append(api.close)
    return app
