"""One connection to Supabase Realtime: dial, join, watch, and leave nothing behind."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

from realtime import RealtimePostgresChangesListenEvent, RealtimeSubscribeStates
from websockets.exceptions import ConnectionClosed, InvalidStatus

from realtime_bridge.doorbell.bells import Bell
from realtime_bridge.doorbell.faults import Fault, Reason, fault_of
from realtime_bridge.doorbell.realtime_client import RealtimeClient
from realtime_bridge.doorbell.subscription import Subscription
from realtime_bridge.doorbell.timing import Timing

EVENT = "rows"  # the broadcast event that bridge.ring() sends
BELLS_SCHEMA, BELLS_TABLE = "bridge", "bells"  # where it inserts a row
UNAUTHORIZED = frozenset({401, 403})
MAX_TEXT = 300  # characters kept of a server's error


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The project to connect to, and the keys to read for each connection.

    `api_key`: what the gateway knows, if that is not `key`.
    """

    url: str
    key: Callable[[], str]
    api_key: Callable[[], str] | None = None


class Connection:
    """One subscription on a client of its own; used once, then closed.

    The library is told not to reconnect: its own ways of doing so end in silence. Whatever goes
    wrong becomes the fault that look() returns (only the first one), and `changed` is called so
    that somebody looks. No callback of ours raises: that would stop the library's reading for good.
    """

    def __init__(
        self,
        subscription: Subscription,
        endpoint: Endpoint,
        *,
        timing: Timing,
        clock: Callable[[], float],
        changed: Callable[[], None],
        rang: Callable[[Bell, str | None], None],
    ) -> None:
        """Prepare a connection. `rang(bell, table)` is called at every ring."""
        self.subscription = subscription
        self.begun = clock()
        self.key: str | None = None  # the key in use, once it was read
        self.joined = False
        self._ready_at: dict[Bell, float] = {}
        self._fault: Fault | None = None
        self._endpoint = endpoint
        self._api_key: str | None = None
        self._timing = timing
        self._clock = clock
        self._changed = changed
        self._rang = rang
        self._stage = Reason.TOKEN  # the reason of an exception that comes now
        self._client: RealtimeClient | None = None
        self._driver: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._driver = asyncio.create_task(self._drive(), name="doorbell-connection")

    @property
    def ready(self) -> frozenset[Bell]:
        """The bells that the server says it will ring."""
        return frozenset(self._ready_at)

    @property
    def complete(self) -> bool:
        """Whether every bell that was asked for is ready."""
        return self.ready >= self.subscription.bells

    @property
    def lasted(self) -> bool:
        """Whether a bell was ready for long enough to call the handshake a success."""
        since = min(self._ready_at.values(), default=None)
        return since is not None and self._clock() - since >= self._timing.steady

    def look(self) -> Fault | None:
        """Return the first thing that went wrong, including what the library reports to nobody."""
        if not self._fault and self._client and self._stage is Reason.LOST:
            self._note(self._client.fault())
        return self._fault

    async def close(self) -> None:
        """End everything that this connection began; never raises, bounded by `close_timeout`."""
        self._fault = self._fault or Fault(Reason.CLOSED, "closed by us")
        if self._driver:
            self._driver.cancel()
            await asyncio.gather(self._driver, return_exceptions=True)
        if self._client:
            await self._client.close(self._timing.close_timeout)

    async def _drive(self) -> None:
        try:
            self.key = self._endpoint.key()
            self._api_key = self._endpoint.api_key and self._endpoint.api_key()
            self._stage = Reason.CONNECT
            self._client = self._prepare(self.key)
            await self._client.connect()
            self._stage = Reason.NOT_READY
            await self._client.channel.subscribe(self._on_state)
            self._stage = Reason.LOST
            self._client.when_a_loop_ends(self._changed)
            await self._ping(self._client)
        except Exception as error:  # noqa: BLE001 - whatever it was, the supervisor must hear of it
            self._note(self._explain(error))

    def _prepare(self, key: str) -> RealtimeClient:
        client = RealtimeClient(
            self._endpoint.url,
            key,
            self._api_key,
            private=self.subscription.private,
            reply_timeout=self._timing.reply_timeout,
        )
        if Bell.CHANGES in self.subscription.bells:
            client.channel.on_system(lambda message: self._on_system(message.extension))
            client.channel.on_postgres_changes(
                RealtimePostgresChangesListenEvent.Insert,
                self._on_change,
                schema=BELLS_SCHEMA,
                table=BELLS_TABLE,
                select=["table_name"],
            )
        if Bell.BROADCAST in self.subscription.bells:
            client.channel.on_broadcast(EVENT, self._on_broadcast)
        return client

    async def _ping(self, client: RealtimeClient) -> None:
        """Find a peer that is gone or frozen; the library ignores missing heartbeat replies."""
        socket = client.socket
        while socket:
            await asyncio.sleep(self._timing.ping_every)
            pong = asyncio.ensure_future(await socket.ping())
            # Not asyncio.timeout: after a suspend it would beat a pong that has already arrived.
            await asyncio.wait({pong}, timeout=self._timing.pong_timeout)
            if not pong.done():
                text = f"a ping was not answered within {self._timing.pong_timeout:g} s"
                self._note(Fault(Reason.FROZEN, text))
                return
            await pong

    def _on_state(self, state: RealtimeSubscribeStates, error: Exception | None) -> None:
        match state:
            case RealtimeSubscribeStates.SUBSCRIBED:
                # The reply to the join: broadcasts come from now on. Changes need one more message.
                self.joined = True
                self._now_ready(Bell.BROADCAST)
            case RealtimeSubscribeStates.TIMED_OUT:
                text = f"no reply to the join within {self._timing.reply_timeout:g} s"
                self._note(Fault(Reason.NOT_READY, text))
            case RealtimeSubscribeStates.CLOSED:
                self._note(Fault(Reason.CLOSED, "the server closed the channel"))
            case RealtimeSubscribeStates.CHANNEL_ERROR:
                self._note(self._explain_channel(error))

    def _on_system(self, extension: str) -> None:
        if extension == "postgres_changes":
            self._now_ready(Bell.CHANGES)

    def _on_change(self, payload: Any) -> None:
        self._rang(Bell.CHANGES, _string_at(payload, "data", "record", "table_name"))

    def _on_broadcast(self, payload: Any) -> None:
        self._rang(Bell.BROADCAST, _string_at(payload, "payload", "table"))

    def _now_ready(self, bell: Bell) -> None:
        if bell in self.subscription.bells:
            self._ready_at.setdefault(bell, self._clock())
        self._changed()

    def _note(self, fault: Fault | None) -> None:
        if fault and not self._fault:
            self._fault = Fault(fault.reason, self._without_keys(fault.text), fault.refusal)
            self._changed()

    def _explain(self, error: Exception) -> Fault:
        """Classify an exception, by its type and by the stage in which it was raised."""
        if isinstance(error, InvalidStatus):
            status = error.response.status_code
            reason = Reason.TOKEN if status in UNAUTHORIZED else self._stage
            return Fault(reason, f"HTTP {status} {_body_error(error.response.body)}".strip())
        return Fault(self._stage, f"{type(error).__name__}: {error}")

    def _explain_channel(self, error: Exception | None) -> Fault:
        """Classify the library's CHANNEL_ERROR: a lost connection, or an error of the server."""
        if isinstance(error, ConnectionClosed):
            return Fault(Reason.LOST, str(error))
        return fault_of(_parse_error(str(error)))

    def _without_keys(self, text: str) -> str:
        """Remove the keys, which an error about an address may quote."""
        for secret in filter(None, (self.key, self._api_key)):
            text = text.replace(secret, "<key>").replace(quote_plus(secret), "<key>")
        return text[:MAX_TEXT]


def _string_at(value: Any, *path: str) -> str | None:
    """Find a string in what a server sent, which may be anything."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else None


def _parse_error(text: str) -> dict[str, Any]:
    """Read the JSON that the library put into an exception; other text becomes the message."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"message": text}


def _body_error(body: bytes | bytearray | None) -> str:
    """Return the `error` of a refused handshake's body, if it has one as Supabase's bodies do."""
    error = _parse_error((body or b"").decode(errors="replace")).get("error")
    return error if isinstance(error, str) else ""
