"""An HTTP proxy that loses requests or answers when a test tells it to."""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum

from tma_sandbox.process import free_port


class Trouble(Enum):
    """What happens to a request."""

    LOST_REQUEST = "it does not arrive: the connection is reset"
    LOST_ANSWER = "it is carried out, and the connection is reset"
    NO_REQUEST = "it does not arrive, and nothing ever comes back"
    NO_ANSWER = "it is carried out, and nothing ever comes back"
    PAGE = "it does not arrive: a gateway answers with a page of its own"

    @property
    def arrives(self):
        """Whether the request is carried out."""
        return self in {Trouble.LOST_ANSWER, Trouble.NO_ANSWER}


@dataclass
class Rule:
    """One trouble for requests whose path contains `path`; `left` of them (None: all)."""

    trouble: Trouble
    path: str = ""
    left: int | None = 1
    status: int = 502


@dataclass(eq=False)
class Connection:
    """One connection through the proxy, and the request that is still unanswered."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter | None = None
    asked: bytes = b""
    ahead: Trouble | None = None  # what waits for the answer
    upgraded: bool = False  # no requests any more, but a websocket
    opened: bytes = b""  # the request that made it one
    ended: bool = False  # the client has been sent an end of file
    tasks: list[asyncio.Task] = field(default_factory=list)

    @property
    def client_port(self):
        """The port that the client called from."""
        return self.client.get_extra_info("peername")[1]

    def cut(self):
        """Reset both ends."""
        for writer in (self.client, self.server):
            if writer is not None:
                writer.transport.abort()


class Proxy:
    """Relays from a port of its own on 127.0.0.1 to one address.

    `harmed` has the ids that `ids_of` finds in requests that were lost, or whose answers were:
    only the server knows what became of those. `asked` counts requests by path.
    """

    def __init__(
        self,
        target: int,
        ids_of: Callable[[bytes], Iterable[int]] = lambda _: (),
        latency: float = 0.0,
    ) -> None:
        """`target`: a port of this machine. `latency`: seconds that each answer is delayed."""
        self.port = free_port()
        self.asked: Counter[str] = Counter()
        self.harmed: set[int] = set()
        self._watchers: list[Callable[[Connection, bytes], None]] = []
        self._target = target
        self._ids_of = ids_of
        self._latency = latency
        self._rules: list[Rule] = []
        self._revoked: set[bytes] = set()
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self):
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self):
        await self._listen()
        return self

    async def __aexit__(self, *_):
        await self._deafen()
        connections = list(self._connections)
        for connection in connections:
            connection.cut()
        await asyncio.gather(*(task for connection in connections for task in connection.tasks))

    def count(self, ending):
        """Count the requests whose path ends so."""
        return sum(count for path, count in self.asked.items() if path.endswith(ending))

    # Trouble

    def trouble(self, trouble, path="", *, times=1, status=502):
        """Break the next requests whose path contains this."""
        self._rules.append(Rule(trouble, path, times, status))

    @contextmanager
    def broken(self, trouble, path="") -> Iterator[None]:
        """Break all of them while the context lasts, including those in progress."""
        rule = Rule(trouble, path, None)
        self._rules.insert(0, rule)
        for connection in self._connections:
            if connection.asked and path.encode() in connection.asked.partition(b"\r\n")[0]:
                self._harm(connection, trouble)
        try:
            yield
        finally:
            self._rules.remove(rule)

    @contextmanager
    def watched(self, watcher: Callable[[Connection, bytes], None]) -> Iterator[None]:
        """Call this with each piece of an answer, before the client gets it."""
        self._watchers.append(watcher)
        try:
            yield
        finally:
            self._watchers.remove(watcher)

    def revoke(self, key):
        """Refuse requests with this key from now on, and cut websockets opened with it."""
        self._revoked.add(key.encode())
        for connection in self._connections:
            if connection.upgraded and key.encode() in connection.opened:
                connection.cut()

    async def refuse(self):
        """Stop listening, cut connections in use, and send the idle ones an end of file."""
        await self._deafen()
        for connection in list(self._connections):
            if connection.asked or connection.upgraded:
                self._note(connection)
                connection.cut()
            else:
                connection.client.write_eof()
                connection.ended = True  # what the client sends until it notices is lost

    async def serve(self):
        """Listen again, on the same port."""
        await self._listen()

    # Inside

    async def _listen(self):
        self._server = await asyncio.start_server(
            self._connected, "127.0.0.1", self.port, limit=2**20
        )

    async def _deafen(self):
        if self._server is not None:
            self._server.close()
            self._server = None

    def _connected(self, reader, writer):
        # At once, so that a connection is known, and cut in the end, from its first moment on.
        connection = Connection(writer)
        self._connections.add(connection)
        connection.tasks.append(asyncio.create_task(self._serve_one(reader, connection)))

    async def _serve_one(self, reader, connection):
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._relay(reader, connection)
        finally:
            connection.cut()
            self._connections.discard(connection)

    async def _relay(self, reader, connection):
        while True:
            connection.asked = await _request(reader)
            path = connection.asked.split(b" ", 2)[1].decode()
            self.asked[path] += 1
            if self._server is None or connection.ended:
                self._note(connection)
                return
            if any(key in connection.asked.partition(b"\r\n\r\n")[0] for key in self._revoked):
                _answer(connection, 401, "application/json", b'{"message":"Invalid API key"}')
                continue
            rule = self._rule_for(path)
            if rule is not None and not rule.trouble.arrives:
                self._note(connection)
                await self._spoil(rule, reader, connection)
                continue
            connection.ahead = rule and rule.trouble
            if connection.server is None:
                from_server, connection.server = await asyncio.open_connection(
                    "127.0.0.1", self._target
                )
                connection.tasks.append(asyncio.create_task(self._answers(from_server, connection)))
            connection.server.write(connection.asked)
            if b"\r\nupgrade: websocket\r\n" in connection.asked.lower():
                connection.opened, connection.asked = connection.asked, b""
                connection.upgraded = True
                await _copy(reader, connection.server)
                return

    async def _spoil(self, rule, reader, connection):
        match rule.trouble:
            case Trouble.PAGE:
                page = b"<html><h1>Bad Gateway</h1></html>"
                _answer(connection, rule.status, "text/html", page)
            case Trouble.NO_REQUEST:
                await reader.read()  # until the client gives up
                raise ConnectionResetError
            case _:
                raise ConnectionResetError

    async def _answers(self, from_server, connection):
        with suppress(OSError):
            while data := await from_server.read(65536):
                await asyncio.sleep(self._latency)
                if connection.ahead is not None:
                    self._note(connection)
                    if connection.ahead is Trouble.NO_ANSWER:
                        continue
                    break
                if connection.ended:  # between two pieces of an answer
                    break
                for watcher in self._watchers:
                    watcher(connection, data)
                connection.asked = b""
                connection.client.write(data)
        connection.cut()

    def _harm(self, connection, trouble):
        """Break a request in progress."""
        if trouble.arrives:
            connection.ahead = trouble
        else:
            self._note(connection)
            connection.cut()

    def _note(self, connection):
        self.harmed.update(self._ids_of(connection.asked))

    def _rule_for(self, path):
        for rule in self._rules:
            if rule.path in path:
                if rule.left is not None:
                    rule.left -= 1
                    if not rule.left:
                        self._rules.remove(rule)
                return rule
        return None


def _answer(connection, status, content, body):
    connection.client.write(
        b"HTTP/1.1 %d Trouble\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b"
        % (status, content.encode(), len(body), body)
    )
    connection.asked = b""


async def _request(reader):
    """Read one request; its body has a length, as aiohttp's clients always send."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return head + (await reader.readexactly(int(length[1])) if length else b"")


async def _copy(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
