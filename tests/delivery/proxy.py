"""A wire that can be cut: an HTTP proxy that loses requests or answers when it is told to."""

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
class Line:
    """One connection through the proxy, and what of the last request is still unanswered."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter | None = None
    asked: bytes = b""
    ahead: Trouble | None = None  # what waits for the answer
    upgraded: bool = False  # no requests any more, but a websocket
    opened: bytes = b""  # the request that made it one
    tasks: list[asyncio.Task] = field(default_factory=list)

    def cut(self):
        """Reset both ends."""
        for writer in (self.client, self.server):
            if writer is not None:
                writer.transport.abort()


class Proxy:
    """Stands between a bridge and one address, on a port of its own of 127.0.0.1.

    `harmed` are the ids that `ids_of` finds in the requests that were lost, or whose answers
    were: nobody but the server knows what became of those. `asked` counts requests by path.
    """

    def __init__(
        self,
        target: int,
        ids_of: Callable[[bytes], Iterable[int]] = lambda _: (),
        latency: float = 0.0,
    ) -> None:
        """`target`: a port of this machine. `latency`: seconds that every answer is on its way."""
        self.port = free_port()
        self.asked: Counter[str] = Counter()
        self.harmed: set[int] = set()
        self._target = target
        self._ids_of = ids_of
        self._latency = latency
        self._rules: list[Rule] = []
        self._revoked: set[bytes] = set()
        self._lines: set[Line] = set()
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
        lines = list(self._lines)
        for line in lines:
            line.cut()
        await asyncio.gather(*(task for line in lines for task in line.tasks))

    def count(self, ending):
        """How many requests came whose path ends so."""
        return sum(count for path, count in self.asked.items() if path.endswith(ending))

    # Trouble

    def trouble(self, trouble, path="", *, times=1, status=502):
        """Let the next requests with this in their path run into trouble."""
        self._rules.append(Rule(trouble, path, times, status))

    @contextmanager
    def broken(self, trouble, path="") -> Iterator[None]:
        """Let all of them run into it while the context lasts, and those under way too."""
        rule = Rule(trouble, path, None)
        self._rules.insert(0, rule)
        for line in self._lines:
            if line.asked and path.encode() in line.asked.partition(b"\r\n")[0]:
                self._harm(line, trouble)
        try:
            yield
        finally:
            self._rules.remove(rule)

    def revoke(self, key):
        """Refuse what shows this key from now on, and cut the websockets that were opened by it."""
        self._revoked.add(key.encode())
        for line in self._lines:
            if line.upgraded and key.encode() in line.opened:
                line.cut()

    async def refuse(self):
        """Nobody listens any more, and what was connected is cut."""
        await self._deafen()
        for line in list(self._lines):
            if line.asked or line.upgraded:
                self._note(line)
                line.cut()
            else:
                line.client.write_eof()  # what the client sent before it hears of it gets lost

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

    async def _connected(self, reader, writer):
        line = Line(writer, tasks=[asyncio.current_task()])
        self._lines.add(line)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._relay(reader, line)
        finally:
            line.cut()
            self._lines.discard(line)

    async def _relay(self, reader, line):
        while True:
            line.asked = await _request(reader)
            path = line.asked.split(b" ", 2)[1].decode()
            self.asked[path] += 1
            if self._server is None:
                self._note(line)
                return
            if any(key in line.asked.partition(b"\r\n\r\n")[0] for key in self._revoked):
                _answer(line, 401, "application/json", b'{"message":"Invalid API key"}')
                continue
            rule = self._rule_for(path)
            if rule is not None and not rule.trouble.arrives:
                self._note(line)
                await self._spoil(rule, reader, line)
                continue
            line.ahead = rule and rule.trouble
            if line.server is None:
                from_server, line.server = await asyncio.open_connection("127.0.0.1", self._target)
                line.tasks.append(asyncio.create_task(self._answers(from_server, line)))
            line.server.write(line.asked)
            if b"\r\nupgrade: websocket\r\n" in line.asked.lower():
                line.opened, line.asked, line.upgraded = line.asked, b"", True
                await _copy(reader, line.server)
                return

    async def _spoil(self, rule, reader, line):
        match rule.trouble:
            case Trouble.PAGE:
                page = b"<html><h1>Bad Gateway</h1></html>"
                _answer(line, rule.status, "text/html", page)
            case Trouble.NO_REQUEST:
                await reader.read()  # until the client gives up
                raise ConnectionResetError
            case _:
                raise ConnectionResetError

    async def _answers(self, from_server, line):
        with suppress(OSError):
            while data := await from_server.read(65536):
                await asyncio.sleep(self._latency)
                if line.ahead is not None:
                    self._note(line)
                    if line.ahead is Trouble.NO_ANSWER:
                        continue
                    break
                line.asked = b""
                line.client.write(data)
        line.cut()

    def _harm(self, line, trouble):
        """A request under way runs into trouble that comes now."""
        if trouble.arrives:
            line.ahead = trouble
        else:
            self._note(line)
            line.cut()

    def _note(self, line):
        self.harmed.update(self._ids_of(line.asked))

    def _rule_for(self, path):
        for rule in self._rules:
            if rule.path in path:
                if rule.left is not None:
                    rule.left -= 1
                    if not rule.left:
                        self._rules.remove(rule)
                return rule
        return None


def _answer(line, status, content, body):
    line.client.write(
        b"HTTP/1.1 %d Trouble\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b"
        % (status, content.encode(), len(body), body)
    )
    line.asked = b""


async def _request(reader):
    """One whole request; its body has a length, as those of aiohttp's clients have."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return head + (await reader.readexactly(int(length[1])) if length else b"")


async def _copy(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
