"""One connection to Supabase Realtime: dial, join, watch, and leave nothing behind."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote_plus

from realtime import (
    AsyncRealtimeChannel,
    AsyncRealtimeClient,
    RealtimePostgresChangesListenEvent,
    RealtimeSubscribeStates,
)
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.protocol import State

from realtime_bridge.credentials import claims_of
from realtime_bridge.doorbell.policy import Bell, Fault, Limits, Reason, Subscription, fault_of

EVENT = "rows"  # the broadcast event that bridge.ring() sends
BELLS = ("bridge", "bells")  # the schema and table into which it inserts a row
UNAUTHORIZED = frozenset({401, 403})
TEXT_LIMIT = 300  # characters of a server's error that are worth keeping


class Connection:
    """One subscription on one client of its own; used once, then closed.

    The library is asked not to reconnect: its own ways to do so end in silence. Whatever goes
    wrong ends up as `trouble` (the first thing that did), and `stir` is called so that somebody
    looks. No callback of ours raises: one that did would stop the library's reading for good.
    """

    def __init__(
        self,
        wish: Subscription,
        *,
        url: str,
        topic: str,
        key: Callable[[], str],
        api_key: Callable[[], str] | None,
        limits: Limits,
        clock: Callable[[], float],
        stir: Callable[[], None],
        rang: Callable[[Bell, str | None], None],
    ) -> None:
        """Describe a subscription. `rang(bell, table)` is called at every ring."""
        self.wish = wish
        self.begun = clock()
        self.key: str | None = None  # the key in use, once it was read
        self.ready: frozenset[Bell] = frozenset()
        self.joined = False
        self._ready_since: float | None = None
        self._trouble: Fault | None = None
        self._url = url
        self._topic = topic
        self._read_key = key
        self._read_api_key = api_key
        self._api_key: str | None = None
        self._limits = limits
        self._clock = clock
        self._stir = stir
        self._rang = rang
        self._doing = Reason.TOKEN  # what an exception now would be about
        self._library: _Library | None = None
        self._driver: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._driver = asyncio.create_task(self._drive(), name="doorbell-session")

    @property
    def lasted(self) -> bool:
        """Whether a bell was ready for long enough to call the handshake a success."""
        since = self._ready_since
        return since is not None and self._clock() - since >= self._limits.steady

    def look(self) -> Fault | None:
        """Return the first thing that went wrong, also what the library says nobody about."""
        if not self._trouble and self._library and self._doing is Reason.LOST:
            self._note(self._library.ailment())
        return self._trouble

    async def close(self) -> None:
        """End everything that this session began; never raises, takes `limits.close` at most."""
        self._trouble = self._trouble or Fault(Reason.CLOSED, "closed by us")
        if self._driver:
            self._driver.cancel()
            await asyncio.gather(self._driver, return_exceptions=True)
        if self._library:
            await self._library.close(self._limits.close)

    async def _drive(self) -> None:
        try:
            self.key = self._read_key()
            self._api_key = self._read_api_key and self._read_api_key()
            self._doing = Reason.CONNECT
            self._library = self._assemble(self.key)
            await self._library.client.connect()
            self._doing = Reason.NOT_READY
            await self._library.channel.subscribe(self._on_state)
            self._doing = Reason.LOST
            self._library.when_a_task_ends(self._stir)
            await self._ping(self._library)
        except Exception as error:  # noqa: BLE001 - whatever it was, the supervisor must hear of it
            self._note(self._explain(error))

    def _assemble(self, key: str) -> "_Library":
        is_jwt = claims_of(key) is not None
        client = AsyncRealtimeClient(
            f"{self._url.rstrip('/')}/realtime/v1",
            token=(self._api_key if is_jwt else None) or key,
            auto_reconnect=False,
            max_retries=1,
            timeout=self._limits.reply,  # type: ignore[arg-type]  # seconds; floats do as well
        )
        # Only a JWT is an access token. Without one the server goes by the apikey, which the
        # hosted gateway has exchanged for a JWT if it was an sb_secret_ key.
        client.access_token = key if is_jwt else None
        channel = client.channel(
            self._topic,
            {
                "config": {
                    "broadcast": {"ack": False, "self": False},
                    "presence": {"key": "", "enabled": False},
                    "private": self.wish.private,
                }
            },
        )
        if Bell.CHANGES in self.wish.bells:
            channel.on_system(lambda message: self._on_system(message.extension))
            schema, table = BELLS
            channel.on_postgres_changes(
                RealtimePostgresChangesListenEvent.Insert,
                self._on_change,
                schema=schema,
                table=table,
                select=["table_name"],
            )
        if Bell.BROADCAST in self.wish.bells:
            channel.on_broadcast(EVENT, self._on_broadcast)
        return _Library(client, channel)

    async def _ping(self, library: "_Library") -> None:
        """Find a peer that is gone or frozen; the library does not look at heartbeat replies."""
        socket = library.socket
        while socket:
            await asyncio.sleep(self._limits.ping_every)
            pong = asyncio.ensure_future(await socket.ping())
            # Not a timeout, which would win over a pong that came while we slept ourselves.
            await asyncio.wait({pong}, timeout=self._limits.pong)
            if not pong.done():
                text = f"a ping was not answered within {self._limits.pong:g} s"
                self._note(Fault(Reason.FROZEN, text))
                return
            await pong

    def _on_state(self, state: RealtimeSubscribeStates, error: Exception | None) -> None:
        match state:
            case RealtimeSubscribeStates.SUBSCRIBED:
                # The reply to the join: broadcasts come from now on. Changes need one more word.
                self.joined = True
                self._now_ready(Bell.BROADCAST)
            case RealtimeSubscribeStates.TIMED_OUT:
                text = f"no reply to the join within {self._limits.reply:g} s"
                self._note(Fault(Reason.NOT_READY, text))
            case RealtimeSubscribeStates.CLOSED:
                self._note(Fault(Reason.CLOSED, "the server closed the channel"))
            case RealtimeSubscribeStates.CHANNEL_ERROR:
                self._note(self._explain_channel(error))

    def _on_system(self, extension: str) -> None:
        if extension == "postgres_changes":
            self._now_ready(Bell.CHANGES)

    def _on_change(self, payload: Any) -> None:
        self._rang(Bell.CHANGES, _text_at(payload, "data", "record", "table_name"))

    def _on_broadcast(self, payload: Any) -> None:
        self._rang(Bell.BROADCAST, _text_at(payload, "payload", "table"))

    def _now_ready(self, bell: Bell) -> None:
        self.ready |= {bell} & self.wish.bells
        if self.ready and self._ready_since is None:
            self._ready_since = self._clock()
        self._stir()

    def _note(self, trouble: Fault | None) -> None:
        if trouble and not self._trouble:
            self._trouble = Fault(trouble.reason, self._safe(trouble.text), trouble.refusal)
            self._stir()

    def _explain(self, error: Exception) -> Fault:
        """Say what an exception means; what we were doing when it came is half of it."""
        reason = self._doing
        if isinstance(error, InvalidStatus):
            status = error.response.status_code
            reason = Reason.TOKEN if status in UNAUTHORIZED else reason
            return Fault(reason, f"HTTP {status} {_body_error(error.response.body)}".strip())
        return Fault(reason, f"{type(error).__name__}: {error}")

    def _explain_channel(self, error: Exception | None) -> Fault:
        """Say what the library's CHANNEL_ERROR means: a lost connection, or a server's message."""
        if isinstance(error, ConnectionClosed):
            return Fault(Reason.LOST, str(error))
        return fault_of(_object(str(error)))

    def _safe(self, text: str) -> str:
        """Take out the keys, which an error about an address may quote."""
        for secret in filter(None, (self.key, self._api_key)):
            text = text.replace(secret, "<key>").replace(quote_plus(secret), "<key>")
        return text[:TEXT_LIMIT]


class _Library:
    """The only place that reaches into realtime-py.

    The library has no public way to tell that its reading or beating ended, and its close()
    leaves timers and pushes running; both are needed to be sure of a connection.
    """

    def __init__(self, client: AsyncRealtimeClient, channel: AsyncRealtimeChannel) -> None:
        self.client = client
        self.channel = channel

    @property
    def socket(self) -> ClientConnection | None:
        return self.client._ws_connection  # noqa: SLF001 - see the class

    def ailment(self) -> Fault | None:
        """Look at a joined client; None if it works."""
        socket = self.socket
        if not socket or socket.state is not State.OPEN:
            code = socket.close_code if socket else None
            return Fault(Reason.LOST, f"the connection is gone (close code {code})")
        for name, task in self._loops().items():
            if task and task.done():
                failure = None if task.cancelled() else task.exception()
                return Fault(Reason.STUCK, f"the library's {name} ended: {failure!r}")
        if not self.channel.is_joined:
            return Fault(Reason.CLOSED, f"the channel is {self.channel.state.value}")
        return None

    def when_a_task_ends(self, stir: Callable[[], None]) -> None:
        for task in self._loops().values():
            if task:
                task.add_done_callback(lambda _: stir())

    async def close(self, patience: float) -> None:
        """Say goodbye, but hang up on a server that does not answer within `patience` seconds."""
        socket, tasks = self.socket, self._tasks()
        self.client._ws_connection = None  # noqa: SLF001 - so that nothing is sent any more
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
            async with asyncio.timeout(patience):
                if socket:
                    await socket.close()
        except (TimeoutError, ConnectionClosed):
            pass
        finally:
            if socket:
                socket.transport.abort()
        if socket:
            await socket.wait_closed()

    def _loops(self) -> dict[str, "asyncio.Task[None] | None"]:
        client = self.client
        return {"reading": client._listen_task, "heartbeat": client._heartbeat_task}  # noqa: SLF001

    def _tasks(self) -> list["asyncio.Task[Any]"]:
        channel = self.channel
        pushes = [channel.join_push, *channel.messages_waiting_for_ack.values()]
        return [
            task
            for task in (
                *self._loops().values(),
                channel.rejoin_timer.timer,
                *(push.timeout_task for push in pushes),
                *channel._background_tasks,  # noqa: SLF001 - see the class
            )
            if task
        ]


def _text_at(value: Any, *path: str) -> str | None:
    """Find a text in what a server sent, which may be anything."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else None


def _object(text: str) -> dict[str, Any]:
    """Read the JSON that the library put into an exception; its own words stay as they are."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"message": text}


def _body_error(body: bytes | bytearray | None) -> str:
    """Return what a refused handshake says about itself, if it says it in Supabase's way."""
    error = _object((body or b"").decode(errors="replace")).get("error")
    return error if isinstance(error, str) else ""
