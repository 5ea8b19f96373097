"""HTTP routes of the demo's page: its files, a signed user, and the rows."""

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg
from aiohttp import web

from tma_sandbox.initdata import sign
from tma_sandbox.page.timelines import Timelines
from tma_sandbox.stack import LocalStack

SHOWN = 12

_STATIC = Path(__file__).with_name("static")
_FILES = {path.name: path for path in _STATIC.iterdir() if path.suffix != ".html"}
_HEADERS = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Whatever a row contains, only the page's own scripts run, and nothing is sent elsewhere.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
}


class Page:
    """Serves /demo as part of a stack: pass `routes` to its `LocalStack`.

    `GET /demo` is the page. `GET /demo/session` is what a Mini App has when it opens: the public
    key and its user, signed by Telegram. `GET /demo/rows` lists the timelines of the latest rows,
    oldest first. The last two answer 503 before `open`, and `rows` when the database is down.
    """

    def __init__(self, user: Mapping[str, Any], supabase_js: Path | None) -> None:
        """`user` (with `id`) writes the rows; without `supabase_js` the page can only show them."""
        self._user = user
        self._files = {**_FILES, **({"supabase.js": supabase_js} if supabase_js else {})}
        self._stack: LocalStack | None = None
        self._timelines: Timelines | None = None

    def routes(self) -> list[web.RouteDef]:
        """The routes to serve."""
        return [
            web.get("/demo", self._page),
            web.get("/demo/session", self._session),
            web.get("/demo/rows", self._rows),
            web.get("/demo/{name}", self._file),
        ]

    @asynccontextmanager
    async def open(self, stack: LocalStack) -> AsyncIterator[Timelines]:
        """Show this running stack for as long as the context lasts."""
        async with Timelines.of(stack) as timelines:
            self._stack, self._timelines = stack, timelines
            try:
                yield timelines
            finally:
                self._stack = self._timelines = None

    async def _page(self, _: web.Request) -> web.FileResponse:
        return web.FileResponse(_STATIC / "index.html", headers=_HEADERS)

    async def _file(self, request: web.Request) -> web.FileResponse:
        path = self._files.get(request.match_info["name"])
        if path is None:
            raise web.HTTPNotFound
        return web.FileResponse(path, headers=_HEADERS)

    async def _session(self, _: web.Request) -> web.Response:
        if self._stack is None:
            raise web.HTTPServiceUnavailable
        fields = {
            "user": json.dumps(self._user, ensure_ascii=False, separators=(",", ":")),
            "auth_date": str(int(time.time())),
        }
        session = {
            "anon_key": self._stack.env()["SUPABASE_ANON_KEY"],
            "init_data": sign(fields, self._stack.keys.bot_token),
            "user": self._user,
        }
        return web.json_response(session, headers=_HEADERS)

    async def _rows(self, _: web.Request) -> web.Response:
        if self._timelines is None:
            raise web.HTTPServiceUnavailable
        try:
            timelines = await self._timelines.latest(SHOWN)
        except psycopg.Error as error:  # the demo is ending
            raise web.HTTPServiceUnavailable from error
        return web.json_response([asdict(one) for one in timelines], headers=_HEADERS)
