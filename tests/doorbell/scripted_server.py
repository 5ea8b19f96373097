"""A websocket server on loopback that answers as Supabase Realtime does, and fails as scripted.

The frames' texts, fields and their order are those of a real server (v2.129.8, vsn 1.0.0).
`python -m tests.doorbell.scripted_server` runs one in its own process, which signals can stop.
"""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tma_sandbox.process import free_port

UNABLE = (
    "Unable to subscribe to changes with given parameters. Please check Realtime is enabled for "
    "the given connect parameters: [event: INSERT, schema: bridge, table: bells, "
    "filters: [], select: nil]"
)
UNAUTHORIZED = "Unauthorized: You do not have permissions to read from this Channel topic: tma_bell"
PRIVATE_ONLY = "PrivateOnly: This project only allows private channels"
EXPIRED = "Token has expired 0 seconds ago"


@dataclass(eq=False)
class Channel:
    """One join by a client, and the messages that the server can send on it."""

    socket: ServerConnection
    topic: str
    ref: str
    payload: dict[str, Any]

    @property
    def bindings(self) -> list[dict[str, Any]]:
        return self.payload["config"]["postgres_changes"]

    @property
    def private(self) -> bool:
        return self.payload["config"]["private"]

    @property
    def token(self) -> str | None:
        return self.payload.get("access_token")

    async def send(self, event: str, payload: dict[str, Any], ref: str | None = None) -> None:
        frame = {"ref": ref, "event": event, "payload": payload, "topic": self.topic}
        await self.socket.send(json.dumps(frame, separators=(",", ":")))

    async def reply(self) -> None:
        changes = [{"id": 42112121 + n, **binding} for n, binding in enumerate(self.bindings)]
        await self._reply("ok", {"postgres_changes": changes})

    async def reply_error(self, reason: str) -> None:
        await self._reply("error", {"reason": reason})

    async def system_ok(self, extension: str = "postgres_changes") -> None:
        await self._system("Subscribed to PostgreSQL", "ok", extension)

    async def system_error(self, message: str, extension: str = "postgres_changes") -> None:
        await self._system(message, "error", extension)

    async def phx_close(self) -> None:
        await self.send("phx_close", {}, self.ref)

    async def phx_error(self) -> None:
        await self.send("phx_error", {}, self.ref)

    async def change(self, table: str = "tma_events") -> None:
        """Ring as Postgres Changes do: one frame for the row that one ring inserts."""
        await self.change_of({"id": 1, "table_name": table})

    async def change_of(self, record: Any) -> None:
        """Send a change of bridge.bells with any record, even a malformed one."""
        bells = {"schema": "bridge", "table": "bells"}
        ids = [42112121 + n for n, b in enumerate(self.bindings) if b | bells == b]
        data = bells | {
            "type": "INSERT",
            "record": record,
            "columns": [{"name": "id", "type": "int8"}, {"name": "table_name", "type": "text"}],
            "errors": None,
            "commit_timestamp": "2026-11-22T04:13:24.137Z",
        }
        if ids:
            await self.send("postgres_changes", {"data": data, "ids": ids})

    async def broadcast(self, table: str | None = "tma_events") -> None:
        """Ring as the table's trigger does: one frame for one statement."""
        uuid = "b12afe64-4407-4d97-9322-7b0ce5b7127a"
        payload = {"table": table, "id": uuid} if table else {"id": uuid}
        body = {"event": "rows", "meta": {"id": uuid}, "payload": payload, "type": "broadcast"}
        if self.private:
            await self.send("broadcast", body)

    async def _reply(self, status: str, response: dict[str, Any]) -> None:
        await self.send("phx_reply", {"status": status, "response": response}, self.ref)

    async def _system(self, message: str, status: str, extension: str) -> None:
        payload = {"message": message, "status": status, "extension": extension}
        await self.send("system", payload | {"channel": self.topic.removeprefix("realtime:")})


Answer = Callable[[Channel], Awaitable[None]]
Handshake = Callable[[Request], Awaitable[Response | None]]


async def grant(channel: Channel) -> None:
    """Grant everything, as a healthy server does."""
    await channel.reply()
    if channel.bindings:
        await channel.system_ok()


async def ignore(channel: Channel) -> None:
    """Lose the reply."""


async def grant_unready(channel: Channel) -> None:
    """Answer the join, but never say that changes are ready."""
    await channel.reply()


async def grant_another_table(channel: Channel) -> None:
    """Answer the join with a binding that was not asked for."""
    for binding in channel.bindings:
        binding["table"] = "another"
    await channel.reply()


async def refuse_changes(channel: Channel) -> None:
    """Grant the join, then report bad bindings: the tables are not in the publication."""
    await channel.reply()
    if channel.bindings:
        await channel.system_error(UNABLE)


async def refuse_private(channel: Channel) -> None:
    """Refuse a private channel to this key."""
    await (channel.reply_error(UNAUTHORIZED) if channel.private else grant(channel))


async def refuse_public(channel: Channel) -> None:
    """Refuse public channels to everybody."""
    await (grant(channel) if channel.private else channel.reply_error(PRIVATE_ONLY))


async def starting(channel: Channel) -> None:
    """Refuse a join after five seconds, as a server does that cannot reach its database."""
    await asyncio.sleep(5.0)
    await channel.reply_error("InitializingProjectConnection: Realtime is initializing")


async def expire_at_once(channel: Channel) -> None:
    """Grant, then find the token expired: the channel is closed, the socket stays open."""
    await channel.reply()
    await channel.system_error(EXPIRED, extension="system")
    await channel.phx_close()


def refuse(reason: str) -> Answer:
    """Refuse every join with this reason."""

    async def answer(channel: Channel) -> None:
        await channel.reply_error(reason)

    return answer


async def accept(_: Request) -> None:
    """Let the websocket open."""


async def never(_: Request) -> None:
    """Accept the TCP connection and say nothing more."""
    await asyncio.Event().wait()


def status(code: int, body: str = "", location: str | None = None) -> Handshake:
    """Answer the handshake with an HTTP status instead of 101."""

    async def handshake(_: Request) -> Response:
        headers = Headers({"Content-Length": str(len(body.encode()))})
        if location:
            headers["Location"] = location
        return Response(code, HTTPStatus(code).phrase, headers, body.encode())

    return handshake


@dataclass
class ScriptedRealtime:
    """A server that handles connections by `handshake`, and joins by `script`, then `answer`."""

    handshake: Handshake = accept
    answer: Answer = grant
    port: int = field(default_factory=free_port)
    attempts: int = 0  # HTTP requests so far
    keys: list[str] = field(default_factory=list)  # the apikey of each request
    joins: list[Channel] = field(default_factory=list)
    script: deque[Answer] = field(default_factory=deque)
    sockets: set[ServerConnection] = field(default_factory=set)
    _server: Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def channel(self) -> Channel:
        """The latest join."""
        return self.joins[-1]

    def then(self, *answers: Answer) -> None:
        """Script the answers to the next joins; after them `answer` applies again."""
        self.script.extend(answers)

    async def start(self) -> None:
        """Listen; on the same port as before, if there was one."""
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            self.port,
            process_request=self._process_request,
            ping_interval=None,
        )

    async def kill(self) -> None:
        """Disappear like a killed process: connections are reset, the port is refused."""
        server, self._server = self._server, None
        if server:
            server.close(close_connections=False)
            for connection, handler in list(server.handlers.items()):
                connection.transport.abort()
                handler.cancel()
            await server.wait_closed()

    async def _process_request(self, _: ServerConnection, request: Request) -> Response | None:
        self.attempts += 1
        self.keys += parse_qs(urlsplit(request.path).query).get("apikey", [])
        return await self.handshake(request)

    async def _serve(self, socket: ServerConnection) -> None:
        self.sockets.add(socket)
        try:
            async for text in socket:
                await self._receive(socket, json.loads(text))
        except ConnectionClosed:
            pass
        finally:
            self.sockets.discard(socket)

    async def _receive(self, socket: ServerConnection, frame: dict[str, Any]) -> None:
        topic, ref = frame["topic"], frame["ref"]
        match frame["event"]:
            case "phx_join":
                channel = Channel(socket, topic, ref, frame["payload"])
                self.joins.append(channel)
                answer = self.script.popleft() if self.script else self.answer
                await answer(channel)
            case "heartbeat":
                channel = Channel(socket, topic, ref, {})
                await channel.send("phx_reply", {"status": "ok", "response": {}}, ref)


async def _main() -> None:
    server = ScriptedRealtime()
    await server.start()
    print(server.port, flush=True)  # noqa: T201 - how the parent learns it
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
