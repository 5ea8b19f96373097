"""HTTP routes of the demo's panes: their files, and a signed user."""

import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from tma_sandbox.initdata import sign
from tma_sandbox.page.timelines import Timelines
from tma_sandbox.stack import LocalStack

_STATIC = Path(__file__).with_name("static")
_FILES = {path.name: path for path in _STATIC.iterdir() if path.suffix != ".html"}
_HEADERS = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
# Whatever a row contains, only the page's own scripts run, and nothing is sent elsewhere.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors "
)


class Page:
    """Serves /demo as part of a stack: pass `routes` to its `LocalStack`.

    `GET /demo/panes` is a Mini App and the chat with the bot. `GET /demo` leads to the address that
    `front()` makes, of a page that frames them, or else to the panes. `GET /demo/session` is what a
    Mini App has when it opens: the public key and its user, signed by Telegram; 503 before `open`.
    """

    def __init__(self, user: Mapping[str, Any], supabase_js: Path | None, stylesheet: Path) -> None:
        """`user` (with `id`) writes the rows; without `supabase_js` nobody can write any.

        `stylesheet` has the colours and shapes of the page that frames the panes.
        """
        self._user = user
        self._files = {
            **_FILES,
            "style.css": stylesheet,
            **({"supabase.js": supabase_js} if supabase_js else {}),
        }
        self.front: Callable[[], str] | None = None
        self._stack: LocalStack | None = None

    def routes(self) -> list[web.RouteDef]:
        """The routes to serve."""
        return [
            web.get("/demo", self._enter),
            web.get("/demo/panes", self._panes),
            web.get("/demo/session", self._session),
            web.get("/demo/{name}", self._file),
        ]

    @asynccontextmanager
    async def open(self, stack: LocalStack) -> AsyncIterator[Timelines]:
        """Show this running stack for as long as the context lasts."""
        async with Timelines.of(stack) as timelines:
            self._stack = stack
            try:
                yield timelines
            finally:
                self._stack = None

    async def _enter(self, _: web.Request) -> web.Response:
        where = self.front() if self.front else "/demo/panes"
        return web.Response(status=303, headers={**_HEADERS, "Location": where})

    async def _panes(self, _: web.Request) -> web.FileResponse:
        framed_by = _origin(self.front()) if self.front else "'none'"
        headers = {**_HEADERS, "Content-Security-Policy": _POLICY + framed_by}
        return web.FileResponse(_STATIC / "panes.html", headers=headers)

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


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"
