"""One address for everything: /rest/v1, /realtime/v1 and /auth/v1 as in Supabase.

The Bot API has the other paths, so one URL is both SUPABASE_URL and TELEGRAM_API_URL.
"""

import asyncio
import errno
import socket
from collections.abc import Iterable
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from tma_sandbox.botapi import BotApi
from tma_sandbox.errors import PortInUseError, StackError
from tma_sandbox.keys import Keys
from tma_sandbox.origin_guard import guard_origin
from tma_sandbox.realtime import LocalRealtime

_LONGEST_HEADER = 32 * 1024
_LARGEST_BODY = 50 * 1024 * 1024
_STOP_SECONDS = 1.0
# Headers of one connection, which a proxy does not forward.
_HOP_BY_HOP = {
    "apikey", "connection", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding",
    "upgrade",
}  # fmt: skip
_CORS = {"Access-Control-Allow-Origin": "*"}
_METHODS = "GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS,TRACE,CONNECT"


def bind(port: int) -> socket.socket:
    """Bind a socket to this port of 127.0.0.1 (0: any free one) without listening yet.

    Raises PortInUseError, or StackError for a port that cannot be used.
    """
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        bound.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise PortInUseError(port) from error
        raise StackError(f"cannot use port {port}: {error}; choose another port") from error
    return bound


class Gateway:
    """Serves the parts of a stack on one bound socket.

    Like Supabase's gateway it requires an API key for the paths of Supabase. A request without a
    bearer token gets one from its API key: a JWT as it is, and for an sb_ key a JWT of its role.
    An sb_ key is not a token: as a bearer token it is refused, unless it repeats the API key.
    """

    def __init__(
        self,
        *,
        rest_url: str,
        keys: Keys,
        realtime: LocalRealtime,
        bot_api: BotApi,
        routes: Iterable[web.AbstractRouteDef] = (),
    ) -> None:
        """`routes` are additional ones, matched before the Bot API's."""
        self._rest = URL(rest_url)
        self._keys = keys
        self._realtime = realtime
        self._bot_api = bot_api
        self._routes = routes
        self._good_keys: set[str] = set()
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None

    async def start(self, bound: socket.socket) -> None:
        """Serve on `bound`, which `stop` closes."""
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
            timeout=aiohttp.ClientTimeout(total=None),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
        self._runner = web.AppRunner(
            self._application(),
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=_STOP_SECONDS,
            auto_decompress=False,
            max_line_size=_LONGEST_HEADER,
            max_field_size=_LONGEST_HEADER,
        )
        await self._runner.setup()
        await web.SockSite(self._runner, bound, backlog=1024).start()

    async def stop(self) -> None:
        """Stop serving, and Realtime with it. Does nothing if it is not serving."""
        if self._runner:
            await self._runner.cleanup()
        if self._session:
            await self._session.close()

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[guard_origin], client_max_size=_LARGEST_BODY)
        app.add_routes(
            [
                web.get("/", _greet),
                web.route("*", "/rest/v1{path:(/.*)?}", self._proxy),
                web.get("/realtime/v1/websocket", self._websocket),
                web.route("*", "/realtime/v1/api/{path:.*}", self._broadcast),
                web.get("/auth/v1/health", _auth_health),
                web.get("/auth/v1/.well-known/jwks.json", self._jwks),
                web.route("*", "/auth/v1/{path:.*}", _no_auth),
                *self._routes,
                *self._bot_api.routes(),
            ]
        )
        app.on_shutdown.append(self._say_goodbye)
        return app

    async def _say_goodbye(self, _: web.Application) -> None:
        """Close what would otherwise last until the timeout: websockets and waiting requests."""
        await asyncio.gather(self._realtime.stop(), self._bot_api.close())

    # REST

    async def _proxy(self, request: web.Request) -> web.StreamResponse:
        path, _, query = request.raw_path.removeprefix("/rest/v1").partition("?")
        headers = [(k, v) for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP]
        if not _is_preflight(request):
            key = request.headers.get("apikey")
            if key is None and (key := request.query.get("apikey")):
                query = "&".join(p for p in query.split("&") if not p.startswith("apikey="))
            if refusal := self._refusal(key, request):
                return refusal
            headers = [(k, v) for k, v in headers if k.lower() != "authorization"]
            headers.append(("Authorization", self._authorization(request, str(key))))
        url = URL(f"{self._rest}{path or '/'}{'?' if query else ''}{query}", encoded=True)
        response = web.StreamResponse()
        try:
            await self._forward(request, url, headers, response)
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
            if not response.prepared:
                text = "An invalid response was received from the upstream server"
                return _json_response({"message": text}, 502)
            if request.transport:
                request.transport.abort()  # a partial response must not look complete
        return response

    async def _forward(
        self,
        request: web.Request,
        url: URL,
        headers: list[tuple[str, str]],
        response: web.StreamResponse,
    ) -> None:
        if self._session is None:
            raise RuntimeError("the gateway has not been started")
        body = request.content if request.body_exists else None
        async with self._session.request(
            request.method, url, headers=headers, data=body, allow_redirects=False
        ) as upstream:
            response.set_status(upstream.status, upstream.reason)
            response.headers.extend(
                (k, v) for k, v in upstream.headers.items() if k.lower() not in _HOP_BY_HOP
            )
            await response.prepare(request)
            async for chunk in upstream.content.iter_any():
                await response.write(chunk)
            await response.write_eof()

    def _refusal(self, key: str | None, request: web.Request) -> web.Response | None:
        """The response to a request whose API key is refused; None if it is accepted."""
        if not key:
            hint = "No `apikey` request header or url param was found."
            return _json_response({"message": "No API key found in request", "hint": hint}, 401)
        if key not in self._good_keys:
            if not self._keys.is_api_key(key):
                hint = "Double check your Supabase `anon` or `service_role` API key."
                return _json_response({"message": "Invalid API key", "hint": hint}, 401)
            self._good_keys.add(key)
        if key == self._keys.secret_key and _is_browser(request):
            hint = "A secret key belongs on a server; anyone who opens the page could read it."
            text = "Forbidden use of secret API key in browser"
            return _json_response({"message": text, "hint": hint}, 401)
        return None

    def _authorization(self, request: web.Request, key: str) -> str:
        """The Authorization header that PostgREST and Realtime get."""
        given = request.headers.get("Authorization")
        if given is None or given == f"Bearer {key}":
            return f"Bearer {self._keys.behind(key) or key}"
        return given

    async def _jwks(self, _: web.Request) -> web.Response:
        """The public halves of the signing keys; they are public, so no API key is required."""
        answer = _json_response({"keys": self._keys.signing.public()})
        answer.headers["Cache-Control"] = "public, max-age=600"
        return answer

    # Realtime

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        """Realtime's websocket; keys of roles that are not API keys are refused here."""
        key = request.headers.get("x-api-key") or request.query.get("apikey", "")
        if self._keys.role_in(key) is not None and not self._keys.is_api_key(key):
            return _json_response({"message": "Invalid API key"}, 401)
        return await self._realtime.websocket(request, self._keys.behind(key))

    async def _broadcast(self, request: web.Request) -> web.StreamResponse:
        """Broadcasts over HTTP, which pages of any origin may send."""
        if _is_preflight(request):
            asked = request.headers.get("Access-Control-Request-Headers", "")
            allowed = {
                "Access-Control-Allow-Methods": _METHODS,
                "Access-Control-Allow-Headers": asked,
            }
            return web.Response(headers=_CORS | allowed)
        key = request.headers.get("apikey") or request.query.get("apikey")
        if refusal := self._refusal(key, request):
            return refusal
        _, _, token = self._authorization(request, str(key)).partition(" ")
        answer = await self._realtime.http(request, token)
        answer.headers.update(_CORS)
        return answer


def _is_preflight(request: web.Request) -> bool:
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers


def _is_browser(request: web.Request) -> bool:
    return request.headers.get("User-Agent", "").startswith("Mozilla/")


async def _greet(_: web.Request) -> web.Response:
    return web.json_response(
        {"message": "tma-sandbox: /rest/v1, /realtime/v1, /bot<token>, /_sent"}
    )


async def _auth_health(_: web.Request) -> web.Response:
    return _json_response(
        {"name": "GoTrue", "version": "local", "description": "not part of this stack"}
    )


async def _no_auth(_: web.Request) -> web.Response:
    text = "tma-sandbox has no Auth"
    return _json_response({"code": 404, "error_code": "not_found", "msg": text}, 404)


def _json_response(value: dict[str, Any], status: int = 200) -> web.Response:
    return web.json_response(value, status=status, headers=_CORS)
