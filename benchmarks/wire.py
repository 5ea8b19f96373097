"""Long lines: `python -m benchmarks.wire LISTEN:TARGET:MS ...` relays TCP ports on 127.0.0.1.

What is sent arrives MS milliseconds later, however much it is: a wire delays, it does not throttle.
A new connection costs a round trip first, as on a real line: what is sent before the handshake
could be over waits for it. `ECHO` as a target answers what it is told, to measure the wire itself.
With PEM (key and certificates) in the environment the far end is one of TLS, except where a target
has `-plain` behind it, which brings its own.
"""

import asyncio
import contextlib
import os
import selectors
import ssl
import sys
from dataclasses import dataclass
from math import inf

CHUNK = 2**16
ECHO = "echo"
_PLAIN = "-plain"


@dataclass(frozen=True)
class Wire:
    """A port that leads to another, which is so many seconds away."""

    listen: int
    target: str
    seconds: float
    tls: bool

    @classmethod
    def read(cls, spec: str) -> "Wire":
        """Read LISTEN:TARGET:MS."""
        listen, target, milliseconds = spec.split(":")
        tls = not target.endswith(_PLAIN)
        return cls(int(listen), target.removesuffix(_PLAIN), float(milliseconds) / 1000, tls)


async def serve(wires: list[Wire]) -> None:
    """Serve until SIGTERM."""
    pem = os.environ.get("PEM")
    for wire in wires:
        await _lay(wire, _far_end(pem) if pem and wire.tls else None)
    print("ready", flush=True)
    await asyncio.Event().wait()


def _far_end(pem: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    return context


async def _lay(wire: Wire, context: ssl.SSLContext | None) -> None:
    """Listen at the near end; what a connection costs is counted from when it is accepted."""
    target = await _echo() if wire.target == ECHO else int(wire.target)
    if context:
        target = await _listen(0, target, 0.0, context)
    await _listen(wire.listen, target, wire.seconds, None)


async def _listen(port: int, target: int, delay: float, context: ssl.SSLContext | None) -> int:
    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shaken = asyncio.get_running_loop().time() + 2 * delay
        with contextlib.suppress(ConnectionError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
            await asyncio.gather(
                _carry(reader, far_writer, delay, shaken),
                _carry(far_reader, writer, delay, -inf),
            )

    server = await asyncio.start_server(accepted, "127.0.0.1", port, ssl=context)
    return int(server.sockets[0].getsockname()[1])


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float, not_before: float
) -> None:
    """Pass on what is read, each piece after the delay, and the end as well."""
    clock = asyncio.get_running_loop().time
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def read() -> None:
        data = b" "
        while data:
            try:
                data = await reader.read(CHUNK)
            except (ConnectionError, ssl.SSLError):
                data = b""
            under_way.put_nowait((max(clock(), not_before) + delay, data))

    reading = asyncio.create_task(read())
    try:
        while True:
            arrives, data = await under_way.get()
            await asyncio.sleep(arrives - clock())
            if not data:
                return
            writer.write(data)
    finally:
        reading.cancel()
        writer.close()


async def _echo() -> int:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(CHUNK):
                writer.write(data)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    return int(server.sockets[0].getsockname()[1])


def _precise() -> asyncio.AbstractEventLoop:
    """A loop that wakes up to the microsecond; that of epoll rounds up to the millisecond."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=_precise) as runner:
        runner.run(serve([Wire.read(spec) for spec in sys.argv[1:]]))
