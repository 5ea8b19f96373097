"""The page, its files, what it is told and what it may do."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import structlog
from aiohttp import ClientConnectionError, hdrs, web
from pydantic import BaseModel

from realtime_bridge.commands.check import Finding
from realtime_bridge.commands.dashboard import views
from realtime_bridge.commands.dashboard.access import Access, Handler
from realtime_bridge.commands.dashboard.feed import Feed, Part
from realtime_bridge.commands.dashboard.retrying import Question, Wanted, matching, retry
from realtime_bridge.commands.dashboard.stage import Stage
from realtime_bridge.commands.dashboard.withdrawing import (
    Unwanted,
    UnwantedType,
    withdraw,
    withdraw_type,
)
from realtime_bridge.database import Refused, Rpc, Unavailable
from realtime_bridge.settings import Settings

log = structlog.get_logger()

_MOST_BYTES = 64 * 1024  # of a request
_STATIC = Path(__file__).with_name("static")
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_FILES = {
    path.name: (path.read_text(encoding="utf-8"), _TYPES[path.suffix])
    for path in _STATIC.iterdir()
    if path.suffix in _TYPES
}
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Whatever a text contains, nothing runs but the page's own scripts, and nothing leaves.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'",
}

STYLESHEET = _STATIC / "style.css"
"""The one that a demo's panes have as well."""

_NARROW = (
    "This key may not read what users wrote, as the narrow role tma_bridge never may. Start the "
    "dashboard with an sb_secret_ key or the service_role key to see it.\n"
)
_NONSENSE = "This is not what the page sends.\n"
_Body = TypeVar("_Body", bound=BaseModel)


@dataclass(slots=True)
class Dashboard:
    """Routes over one project; `check()` looks at everything, as the command does.

    `replicas` are asked at /readyz. `stage` is what a demo shows beside.
    """

    rpc: Rpc
    settings: Settings
    replicas: Sequence[str]
    check: Callable[[], Awaitable[list[Finding]]]
    stage: Stage | None = None
    _feed: Feed = field(init=False)
    _checking: asyncio.Task[list[Finding]] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._feed = Feed(self._parts(), self._written)

    def app(self, access: Access) -> web.Application:
        """Build the application, which lets in whom `access` lets in."""
        app = web.Application(
            middlewares=[_headed, access.guard, _answered], client_max_size=_MOST_BYTES
        )
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/static/{name}", self._file),
                web.get("/events", self._events),
                web.get("/api/about", self._about),
                web.get(r"/api/rows/{id:[0-9]{1,18}}", self._row),
                web.post(r"/api/rows/{id:[0-9]{1,18}}/content", self._content),
                web.post("/api/retry", self._retry),
                web.post("/api/retry/count", self._matching),
                web.get("/api/waiting", self._waiting),
                web.post("/api/withdraw", self._withdraw),
                web.post("/api/withdraw/type", self._withdraw_type),
                web.post("/api/check", self._check),
            ]
        )
        app.on_shutdown.append(self._shut)
        return app

    def _parts(self) -> list[Part]:
        return [
            Part("ways", 0.2 if self.stage else 0.5, self._ways),
            Part("state", 2.0, lambda: views.state(self.rpc, self.replicas)),
            Part("hour", 5.0, lambda: views.hour(self.rpc)),
            Part("failures", 5.0, lambda: views.failures(self.rpc)),
        ]

    async def _ways(self) -> Any:
        ways = await views.ways(self.rpc)
        return await self.stage.beside([{**way} for way in ways]) if self.stage else ways

    async def _shut(self, _: web.Application) -> None:
        await self._feed.close()
        if self._checking:
            self._checking.cancel()

    async def _page(self, request: web.Request) -> web.Response:
        if request.method == hdrs.METH_GET:
            self._feed.expect()
        page = _file("index.html")
        if self.stage:
            policy = f"{_HEADERS['Content-Security-Policy']}; frame-src {self.stage.origin}"
            page.headers["Content-Security-Policy"] = policy
        return page

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in _FILES:
            raise web.HTTPNotFound
        return _file(name)

    async def _about(self, _: web.Request) -> web.Response:
        about = views.about(self.settings, metadata.version("realtime-bridge"))
        return self._json({**about, "panes": self.stage and self.stage.panes})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if self._feed.is_full:
            raise web.HTTPServiceUnavailable(text="Too many pages are open.\n")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **_HEADERS})
        await response.prepare(request)
        async with aclosing(self._feed.listen()) as news:
            with suppress(ClientConnectionError):  # the page was closed
                async for one in news:
                    await response.write(_event(one))
        return response

    async def _row(self, request: web.Request) -> web.Response:
        return self._found(await views.details(self.rpc, int(request.match_info["id"])))

    async def _content(self, request: web.Request) -> web.Response:
        row = int(request.match_info["id"])
        try:
            shown = await views.content(self.rpc, row)
        except Refused as error:
            if not error.bad_key:
                raise
            raise web.HTTPForbidden(text=_NARROW) from None
        log.info("content_shown", id=row)
        return self._found(shown)

    async def _matching(self, request: web.Request) -> web.Response:
        return self._json(asdict(await matching(self.rpc, await _wanted(request))))

    async def _retry(self, request: web.Request) -> web.Response:
        outcome = await retry(self.rpc, await _wanted(request))
        if isinstance(outcome, Question):
            return self._json(asdict(outcome), status=409)
        self._feed.hurry()
        return self._json(asdict(outcome))

    async def _withdraw(self, request: web.Request) -> web.Response:
        outcome = await withdraw(self.rpc, await _sent_as(Unwanted, request))
        self._feed.hurry()
        return self._json(asdict(outcome))

    async def _waiting(self, _: web.Request) -> web.Response:
        return self._json(await views.waiting(self.rpc))

    async def _withdraw_type(self, request: web.Request) -> web.Response:
        try:
            outcome = await withdraw_type(self.rpc, await _sent_as(UnwantedType, request))
        finally:
            self._feed.hurry()
        return self._json(asdict(outcome))

    async def _check(self, _: web.Request) -> web.Response:
        # Who asks while it is under way gets the same answer: it writes a row and rings the bells.
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._checked())
        findings = await asyncio.shield(self._checking)
        return self._json([asdict(finding) for finding in findings])

    async def _checked(self) -> list[Finding]:
        log.info("check_asked")
        return await self.check()

    def _found(self, row: dict[str, Any] | None) -> web.Response:
        if row is None:
            raise web.HTTPNotFound(text="There is no such row: it may have been purged.\n")
        return self._json(row)

    def _json(self, value: Any, status: int = 200) -> web.Response:
        return web.Response(
            text=self._written(value), status=status, content_type="application/json"
        )

    def _written(self, value: Any) -> str:
        """The one way out for what the database says: without secrets, on one line."""
        return json.dumps(views.without_secrets(value, self.settings.redact))


def _file(name: str) -> web.Response:
    text, kind = _FILES[name]
    return web.Response(text=text, content_type=kind, charset="utf-8")


async def _wanted(request: web.Request) -> Wanted:
    wanted = await _sent_as(Wanted, request)
    try:
        wanted.filters()
    except ValueError:  # it names no rows
        raise web.HTTPBadRequest(text=_NONSENSE) from None
    return wanted


async def _sent_as(kind: type[_Body], request: web.Request) -> _Body:
    try:
        return kind.model_validate_json(await request.read())
    except ValueError:  # of JSON, of UTF-8, or of what is in it
        raise web.HTTPBadRequest(text=_NONSENSE) from None


def _event(news: tuple[str, str] | None) -> bytes:
    if news is None:
        return b":\n\n"
    name, text = news
    return f"event: {name}\ndata: {text}\n\n".encode()


@web.middleware
async def _headed(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every answer has the headers, also those of who is not let in."""
    try:
        response = await handler(request)
    except web.HTTPException as error:
        error.headers.update(_HEADERS)
        raise
    if not response.prepared:
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
    return response


@web.middleware
async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A database that is away or says no: its own words, which are redacted already."""
    try:
        return await handler(request)
    except (Unavailable, Refused) as error:
        raise web.HTTPBadGateway(text=f"{error}\n") from None
