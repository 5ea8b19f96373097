"""A Bot API that records when each message arrived, its chat and its number.

Runs as `python -m benchmarks.sink PORT [limited]`. GET /_arrivals returns and clears:
[[seconds since 1970, chat id, number], ...]; the number is what the text has as `seqN`. `limited`:
it keeps Telegram's limits; what exceeds them gets a 429 and is listed as number -1.
"""

import asyncio
import gc
import json
import re
import sys
import time
from typing import Any

from tma_sandbox.botapi import Rates
from tma_sandbox.botapi.rate_limiter import RateLimiter

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHAT = re.compile(rb'chat_id(?:=|"\r\n\r\n|": *)(-?\d+)')
_NUMBER = re.compile(rb"seq(\d+)")
_ME = b'{"ok":true,"result":{"id":1,"is_bot":true,"first_name":"Bench","username":"bench_bot"}}'
_SENT = (
    b'{"ok":true,"result":{"message_id":1,"date":1767225600,"text":"sent",'
    b'"chat":{"id":1000001,"first_name":"Ada","type":"private"}}}'
)

_FLOOD = (
    b'{"ok":false,"error_code":429,"description":"Too Many Requests: retry after %d",'
    b'"parameters":{"retry_after":%d}}'
)

arrivals: list[tuple[float, int, int]] = []
limits = RateLimiter(Rates()) if "limited" in sys.argv else None


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection with keep-alive; no framework, so it is never the bottleneck."""

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every complete request."""
        now = time.time()
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._buffer, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < whole:
                return
            request, self._buffer = self._buffer[:whole], self._buffer[whole:]
            self._answer(now, request)

    def _answer(self, now: float, request: bytes) -> None:
        line = request[: request.find(b"\r\n")]
        if b"/sendMessage" in line:
            chat, number = _CHAT.search(request), _NUMBER.search(request)
            to = int(chat[1]) if chat else 0
            if limits and (wait := limits.retry_after(1, to)):
                arrivals.append((now, to, -1))
                self._write(b"429 Too Many Requests", _FLOOD % (wait, wait))
                return
            arrivals.append((now, to, int(number[1]) if number else 0))
            body = _SENT
        elif b"/_arrivals" in line:
            body = json.dumps(arrivals).encode()
            arrivals.clear()
        else:
            body = _ME
        self._write(b"200 OK", body)

    def _write(self, status: bytes, body: bytes) -> None:
        head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self._transport.write(head % (status, len(body)) + body)


async def serve(port: int) -> None:
    """Serve until SIGTERM."""
    gc.freeze()
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
