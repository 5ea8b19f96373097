"""The local Realtime, as the gateway mounts it."""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aiohttp import web

from tma_sandbox.jwks import NO_KEYS, SigningKeys
from tma_sandbox.realtime import frames
from tma_sandbox.realtime.broadcasts import BroadcastFeed, DatabaseBroadcast
from tma_sandbox.realtime.database import Database
from tma_sandbox.realtime.directory import Directory
from tma_sandbox.realtime.feed import ChangeFeed
from tma_sandbox.realtime.rest import receive_broadcasts
from tma_sandbox.realtime.services import Services
from tma_sandbox.realtime.tokens import TokenError
from tma_sandbox.realtime.tuning import Delays, Limits
from tma_sandbox.realtime.websocket import Socket

_GOOD_BYE_SECONDS = 1.0
_LARGEST_MESSAGE = 5_000_000  # bytes


class LocalRealtime:
    """A stand-in for Supabase Realtime over one database.

    `dsn` connects as a superuser (supabase_admin), `jwt_secret` is what tokens are signed with,
    unless it is one of the keys `signing`.
    `poll` is after how many seconds the log is looked at again for Postgres Changes: where nobody
    wanted what was found, and where nothing was found. `delays` and `limits` are a real server's
    unless told otherwise. `clock` tells seconds since 1970, `rand` chooses within the delays.

    Presence is accepted and not served; nothing is stored for replay.
    """

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
        delays = delays or Delays()
        rand = rand or random.Random()  # noqa: S311 - only spreads waits
        directory = Directory()
        database = Database(dsn)
        self._changes = ChangeFeed(
            database,
            publication,
            directory,
            poll=poll,
            delays=delays,
            limits=limits or Limits(),
            clock=clock,
            rand=rand,
        )
        self._broadcasts = BroadcastFeed(
            database, self._broadcast, back=delays.broadcasts_back, rand=rand
        )
        self._services = Services(
            database=database,
            feed=self._changes,
            directory=directory,
            secret=jwt_secret,
            signing=signing,
            publication=publication,
            delays=delays,
            clock=clock,
            rand=rand,
        )
        self._sockets: dict[Socket, asyncio.Task[Any] | None] = {}
        self._refusal: int | None = None

    async def start(self) -> None:
        """Connect; from then on joins are served and broadcasts heard.

        Raises psycopg.OperationalError when the database is away.
        """
        async with self._services.database.shared():
            pass
        await self._broadcasts.until_listening()

    async def stop(self) -> None:
        """Close all sockets, drop the slot, leave no connection and no task behind."""
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

        `key` is what a gateway has put in the place of the client's API key.
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
        """Take broadcasts over HTTP; mounted at /realtime/v1/api/broadcast and below.

        `token` is what a gateway has found to be the caller's.
        """
        return await receive_broadcasts(self._services, request, token)

    # What tests do to a server

    def refuse(self, status: int | None) -> None:
        """Answer every new connection with this HTTP status; None to serve again."""
        self._refusal = status

    def drop_sockets(self) -> None:
        """Cut all connections without a word, as a killed server does."""
        for socket in tuple(self._sockets):
            socket.abort()

    def pause_changes(self, *, paused: bool = True) -> None:
        """Go deaf: joins and heartbeats are answered, changes are read and never delivered."""
        self._changes.paused = paused

    def pause_broadcasts(self, *, paused: bool = True) -> None:
        """The same for broadcasts from the database."""
        self._broadcasts.paused = paused

    async def give_up_changes(self) -> None:
        """Let the poller die now, as a long outage of the database does.

        Who is served now stays joined, is answered, and hears no change any more until it joins
        again or sends another token.
        """
        await self._changes.give_up()

    async def lag(self) -> int:
        """How many bytes of the log the poller of changes is behind; 0 when it does not read.

        Raises psycopg.OperationalError when the database is away.
        """
        return await self._changes.lag()

    @property
    def subscribers(self) -> int:
        """How many bindings are served now."""
        return len(self._services.directory.subscriptions())

    def _broadcast(self, message: DatabaseBroadcast) -> None:
        payload = {
            "event": message.event,
            "meta": {"id": message.id},
            "payload": message.payload,
            "type": "broadcast",
        }
        self._services.directory.broadcast(message.topic, payload, private=message.private)


def _unauthorized(error: str) -> web.Response:
    return web.Response(
        status=401,
        text=frames.encode({"error": error}),
        content_type="application/json",
        charset="utf-8",
        headers={"Cache-Control": "max-age=0, private, must-revalidate"},
    )
