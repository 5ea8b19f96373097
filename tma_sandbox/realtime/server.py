"""The Realtime server: its HTTP handlers, and what a test can do to it."""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aiohttp import web

from tma_sandbox.jwks import NO_KEYS, SigningKeys
from tma_sandbox.realtime import frames
from tma_sandbox.realtime.channel_registry import ChannelRegistry
from tma_sandbox.realtime.database import Database
from tma_sandbox.realtime.database_broadcasts import BroadcastFeed, DatabaseBroadcast
from tma_sandbox.realtime.delays import Delays
from tma_sandbox.realtime.feed import ChangeFeed
from tma_sandbox.realtime.http_broadcasts import receive_broadcasts
from tma_sandbox.realtime.limits import Limits
from tma_sandbox.realtime.services import Services
from tma_sandbox.realtime.tokens import TokenError
from tma_sandbox.realtime.websocket import Socket

_GOOD_BYE_SECONDS = 1.0
_LARGEST_MESSAGE = 5_000_000  # bytes


class LocalRealtime:
    """A double of Supabase Realtime over one database.

    `dsn` connects as a superuser (supabase_admin). Tokens are signed with `jwt_secret` or one of
    the keys in `signing`. `poll` is the time in seconds between polls for Postgres Changes: after
    changes that nobody subscribed to, and after none. `delays` and `limits` are by default those
    of a real server. `clock` returns seconds since 1970; `rand` picks within the delays.
    """

    _refusal: int | None = None  # the status that new connections get

    def __init__(
        self,
        *,
        dsn: str,
        jwt_secret: str,
        signing: SigningKeys = NO_KEYS,
        poll: tuple[float, float] = (0.1, 0.5),
        publication: str = "supabase_realtime",
        delays: Delays | None = None,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.time,
        rand: random.Random | None = None,
    ) -> None:
        delays, rand = delays or Delays(), rand or random.Random()  # noqa: S311 - spreads waits
        channels, database = ChannelRegistry(), Database(dsn)
        self._changes = ChangeFeed(
            database,
            publication,
            channels,
            poll=poll,
            delays=delays,
            limits=limits or Limits(),
            clock=clock,
            rand=rand,
        )
        self._broadcasts = BroadcastFeed(
            database, self._send, back=delays.broadcasts_back, rand=rand
        )
        self._services = Services(
            database=database,
            feed=self._changes,
            channels=channels,
            secret=jwt_secret,
            signing=signing,
            publication=publication,
            delays=delays,
            clock=clock,
            rand=rand,
        )
        self._sockets: dict[Socket, asyncio.Task[Any] | None] = {}

    async def start(self) -> None:
        """Connect; from then on clients can join and broadcasts are heard.

        Raises psycopg.OperationalError when the database is down.
        """
        async with self._services.database.shared():
            pass
        await self._broadcasts.until_listening()

    async def stop(self) -> None:
        """Close all sockets, drop the slot, and leave no connection or task behind."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_GOOD_BYE_SECONDS * 2):
                await asyncio.gather(*(socket.close() for socket in self._sockets))
        serving = [task for task in self._sockets.values() if task is not None]
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await self._changes.stop()
        await self._broadcasts.stop()
        await self._services.database.close()

    async def websocket(self, request: web.Request, key: str | None = None) -> web.StreamResponse:
        """Serve one client; mounted at /realtime/v1/websocket.

        `key` is what the gateway has exchanged the client's API key for, if it has.
        """
        if self._refusal is not None:
            return web.Response(status=self._refusal)
        token = key or request.headers.get("x-api-key") or request.query.get("apikey")
        try:
            self._services.claims(token)
        except TokenError as error:
            await asyncio.sleep(self._services.delays.refused)
            return _unauthorized(error.brief)
        codec = frames.codec(request.query.get("vsn", "1.0.0"))
        if codec is None:
            return web.Response(status=403)
        websocket = web.WebSocketResponse(
            timeout=_GOOD_BYE_SECONDS, compress=False, max_msg_size=_LARGEST_MESSAGE
        )
        await websocket.prepare(request)
        headers = {k.lower(): v for k, v in request.headers.items() if k.lower().startswith("x-")}
        socket = Socket(
            self._services, websocket, request.transport, codec, token=str(token), headers=headers
        )
        self._sockets[socket] = asyncio.current_task()
        try:
            await socket.run()
        finally:
            del self._sockets[socket]
        return websocket

    async def http(self, request: web.Request, token: str | None = None) -> web.StreamResponse:
        """Accept broadcasts over HTTP; mounted at /realtime/v1/api/broadcast and below.

        `token` is the caller's, as the gateway has found it.
        """
        return await receive_broadcasts(self._services, request, token)

    # What a test can do to it

    def refuse(self, status: int | None) -> None:
        """Answer every new connection with this HTTP status; None serves again."""
        self._refusal = status

    def drop_sockets(self) -> None:
        """Cut all connections without closing them, as a killed server does."""
        for socket in tuple(self._sockets):
            socket.abort()

    def pause_changes(self, *, paused: bool = True) -> None:
        """Withhold changes: joins and heartbeats are still answered, changes are dropped."""
        self._changes.paused = paused

    def pause_broadcasts(self, *, paused: bool = True) -> None:
        """Withhold broadcasts from the database in the same way."""
        self._broadcasts.paused = paused

    async def give_up_changes(self) -> None:
        """Make the poller of changes give up, as in a long outage of the database.

        Its subscribers stay joined and are answered, but get no changes until they join again or
        send a new token.
        """
        await self._changes.give_up()

    async def lag(self) -> int:
        """How many bytes of the log the poller of changes is behind; 0 if it is not running.

        Raises psycopg.OperationalError when the database is down.
        """
        return await self._changes.lag()

    @property
    def subscribers(self) -> int:
        """How many subscriptions there are."""
        return len(self._services.channels.subscriptions())

    def _send(self, message: DatabaseBroadcast) -> None:
        payload = {
            "event": message.event,
            "meta": {"id": message.id},
            "payload": message.payload,
            "type": "broadcast",
        }
        self._services.channels.broadcast(message.topic, payload, private=message.private)


def _unauthorized(error: str) -> web.Response:
    return web.Response(
        status=401,
        text=frames.encode({"error": error}),
        content_type="application/json",
        charset="utf-8",
        headers={"Cache-Control": "max-age=0, private, must-revalidate"},
    )
