"""One topic that one socket has joined or is joining."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import psycopg

from tma_sandbox.realtime import bindings
from tma_sandbox.realtime.authorization import AuthorizationContext, may_write, readable
from tma_sandbox.realtime.bindings import BindingError
from tma_sandbox.realtime.frames import Message, UserBroadcast, ordered
from tma_sandbox.realtime.joining import JoinConfig
from tma_sandbox.realtime.services import Services
from tma_sandbox.realtime.subscriptions import Subscription, check
from tma_sandbox.realtime.tokens import Claims, TokenError

_NOT_PERMITTED = "You do not have permissions to read from this Channel topic: {}"
_NO_DATABASE = "Realtime was unable to connect to the project database"


class JoinError(Exception):
    """A join is refused; the text is the real server's reason."""


class Channel:
    """Checks a join, then serves it until the client leaves, joins again, or its token expires.

    `push` takes messages for the client; `closed` is called once if the channel closes by itself.
    """

    def __init__(
        self,
        services: Services,
        join: Message,
        *,
        socket_token: str,
        headers: Mapping[str, str],
        push: Callable[[Message], None],
        closed: Callable[["Channel"], None],
    ) -> None:
        self._services = services
        self._join = join
        self._config = JoinConfig.read(join.payload)
        own = self._config.access_token
        self._token = socket_token if own is None else own
        self._headers = headers
        self._push = push
        self._closed = closed
        self._claims: Claims | None = None
        self._readable: frozenset[str] = frozenset()
        self._may_write: bool | None = None
        self._ended = False
        self._expiry: asyncio.TimerHandle | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def topic(self) -> str:
        """The topic as the client knows it: `realtime:...`."""
        return self._join.topic

    @property
    def name(self) -> str:
        """The topic without its prefix."""
        return self.topic.removeprefix("realtime:")

    @property
    def is_private(self) -> bool:
        """Whether policies decided who may join."""
        return self._config.private

    @property
    def join_ref(self) -> str | None:
        """The reference of the join that made this channel."""
        return self._join.join_ref

    async def open(self) -> Message:
        """Check the join and start serving it; return the reply.

        Raises JoinError and leaves nothing behind if the join is refused.
        """
        if not self.name:
            raise JoinError("TopicNameRequired: You must provide a topic name")
        try:
            claims = self._services.claims(self._token)
        except TokenError as error:
            raise JoinError(error.reason) from error
        try:
            self._readable = await self._may_read(claims)
        except psycopg.OperationalError as error:
            raise JoinError(f"UnableToConnectToProject: {_NO_DATABASE}") from error
        if not self._readable:
            raise JoinError(f"Unauthorized: {_NOT_PERMITTED.format(self.name)}")
        self._claims = claims
        if self._config.wait is not None:
            await self._serve_within(self._config.wait)
        self._accept(claims)
        self._services.channels.enter(self)
        echo = [{"id": bindings.binding_id(asked), **ordered(asked)} for asked in self._asked]
        return self._join.reply("ok", {"postgres_changes": echo})

    def follow_up(self) -> None:
        """Send the messages that follow the reply."""
        if self._config.replication_ready:
            self._system("ok", "Replication connection established")
        if self._config.wait is not None and self._asked:
            self._subscribed()
            self._greet()
        else:
            self._serving = asyncio.create_task(self._begin())

    def close(self) -> Message:
        """Stop serving; return the message that says so."""
        self._ended = True
        if self._expiry is not None:
            self._expiry.cancel()
        if self._serving is not None:
            self._serving.cancel()
        self._services.channels.leave(self)
        return Message(self.topic, "phx_close", {}, ref=self.join_ref, join_ref=self.join_ref)

    async def receive(self, message: Message) -> None:
        """Handle a message from the client; ignore unknown ones."""
        match message:
            case Message(event="access_token", payload={"access_token": str(token)}):
                await self._refresh(token)
            case Message(event="broadcast"):
                await self._relay(message)
            case Message(event="presence"):
                # Accepted and dropped: presence is not part of this server.
                self._push(message.reply("ok", {}))
            case _:
                pass

    def changed(self, data: dict[str, Any], ids: list[int]) -> None:
        """Send one change."""
        if not self._ended:  # the change may have been under way
            self._push(Message(self.topic, "postgres_changes", {"data": data, "ids": ids}))

    def broadcast(self, payload: Any) -> None:
        """Send one broadcast, unless the client may only read presence here."""
        if "broadcast" in self._readable:
            self._push(Message(self.topic, "broadcast", payload))

    @property
    def _asked(self) -> list[dict[str, Any]]:
        return self._config.postgres_changes

    async def _may_read(self, claims: Claims) -> frozenset[str]:
        extensions = ["broadcast", "presence"] if self._config.presence else ["broadcast"]
        if not self.is_private:
            return frozenset(extensions)
        context = AuthorizationContext(self.name, claims, self._headers)
        return await readable(self._services.database, context, extensions)

    def _accept(self, claims: Claims) -> None:
        self._claims = claims
        if self._expiry is not None:
            self._expiry.cancel()
        left = claims.expires - int(self._services.clock())
        # asyncio cannot schedule arbitrarily far ahead; no connection lasts a day.
        self._expiry = asyncio.get_running_loop().call_later(min(left, 86_400), self._expire)

    def _expire(self) -> None:
        try:
            self._accept(self._services.claims(self._token))
        except TokenError as error:
            self._shut(error.text)

    async def _refresh(self, token: str) -> None:
        """Continue under a new token; an opaque key or the same token changes nothing."""
        if token.startswith("sb_") or token == self._token:
            return
        try:
            claims = self._services.claims(token)
            self._readable = await self._may_read(claims)
        except TokenError as error:
            self._shut(error.text)
            return
        except psycopg.OperationalError:
            self._shut(_NO_DATABASE)
            return
        if not self._readable:
            self._shut(_NOT_PERMITTED.format(self.name))
            return
        self._token, self._may_write = token, None
        self._accept(claims)
        if self._serving is not None:
            self._serving.cancel()
        if self._asked:
            self._serving = asyncio.create_task(self._resume())

    async def _relay(self, message: Message) -> None:
        """Forward a client's broadcast to the topic."""
        if not isinstance(message.payload, dict | UserBroadcast) or not await self._writes():
            return
        payload = ordered(message.payload)
        self._services.channels.broadcast(
            self.name,
            payload,
            private=self.is_private,
            without=None if self._config.broadcast_self else self,
        )
        if self._config.broadcast_ack:
            self._push(message.reply("ok", {}))

    async def _writes(self) -> bool:
        if not self.is_private or self._claims is None:
            return True
        if self._may_write is None:
            context = AuthorizationContext(self.name, self._claims, self._headers)
            try:
                self._may_write = await may_write(self._services.database, context)
            except psycopg.OperationalError:
                return False
        return self._may_write

    async def _begin(self) -> None:
        """Serve for the first time; the first subscriber waits until the feed is reading."""
        feed = self._services.feed
        is_cold = bool(self._asked) and not feed.is_reading
        if is_cold:
            self._greet()
            await asyncio.gather(feed.until_reading(), self._pause(self._services.delays.cold))
        await self._serve()
        if not is_cold:
            self._greet()

    async def _resume(self) -> None:
        """Serve under a new token, after the delay of a real server."""
        await self._pause(self._services.delays.resubscribe)
        await self._serve()

    async def _serve(self) -> None:
        """Subscribe, retrying until the database is up, and tell the client the result."""
        if not self._asked:
            return
        try:
            while not await self._try_to_serve():
                await self._pause(self._services.delays.resubscribe)
        except BindingError as error:
            self._system("error", str(error), "postgres_changes")
        else:
            self._subscribed()

    async def _serve_within(self, seconds: float) -> None:
        """Subscribe before the join is answered, as a client may request."""
        try:
            async with asyncio.timeout(seconds):
                await self._services.feed.until_reading()
                while not await self._try_to_serve():
                    await self._pause((0.1, 1.0))
        except BindingError as error:
            self.close()
            raise JoinError(f"RealtimeDisabledForConfiguration: {error}") from error
        except TimeoutError as error:
            self.close()
            raise JoinError(
                f"PostgresChangesSubscribeTimeout: Timed out after {seconds * 1000:.0f}ms "
                "waiting for the postgres_changes subscription"
            ) from error

    async def _try_to_serve(self) -> bool:
        """Check and register the bindings; return False if the database is down.

        Raises BindingError.
        """
        claims = self._claims
        if claims is None or not self._asked:
            return True
        requested = [bindings.parse(asked) for asked in self._asked]
        try:
            async with self._services.database.shared() as conn:
                await check(conn, self._services.publication, requested, claims)
        except psycopg.OperationalError:
            return False
        served = [
            Subscription(bindings.binding_id(asked), binding, claims, self)
            for asked, binding in zip(self._asked, requested, strict=True)
        ]
        # No await between these two: when the reader gives up it forgets all subscriptions.
        await self._services.feed.until_reading()
        self._services.channels.serve(self, tuple(served))
        return True

    async def _pause(self, between: tuple[float, float]) -> None:
        await asyncio.sleep(self._services.rand.uniform(*between))

    def _greet(self) -> None:
        if "presence" in self._readable:
            self._push(Message(self.topic, "presence_state", {}, join_ref=self.join_ref))

    def _subscribed(self) -> None:
        self._system("ok", "Subscribed to PostgreSQL", "postgres_changes")

    def _system(self, status: str, text: str, extension: str = "system") -> None:
        payload = {
            "message": text,
            "status": status,
            "extension": extension,
            "channel": self.name,
        }
        self._push(Message(self.topic, "system", payload, join_ref=self.join_ref))

    def _shut(self, why: str) -> None:
        """Close the channel; the socket stays open."""
        self._system("error", why)
        self._push(self.close())
        self._closed(self)
