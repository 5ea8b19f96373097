"""Reports of a function's progress to the chat: the newest text at a time, best effort."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

log = structlog.get_logger()

# Telegram lets a chat's messages change about once a second: what comes faster nobody would see.
SECONDS_BETWEEN = 1.0


class Progress:
    """What one claimed request reports, until it ends.

    While a report is on its way, and for a second after, newer texts wait and replace each other.
    """

    def __init__(
        self,
        key: str,
        send: Callable[[str], Awaitable[bool]],
        *,
        seconds_between: float = SECONDS_BETWEEN,
    ) -> None:
        """Make one in the loop that sends.

        `key` names the message that changes. `send(text)`: False if the claim no longer holds.
        """
        self.key = key
        self._send = send
        self._seconds_between = seconds_between
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()  # for the three below: a plain function reports in its thread
        self._newest: str | None = None
        self._noticed = False
        self._ended = False
        self._sending: asyncio.Task[None] | None = None
        self._idle: asyncio.Task[None] | None = None
        self._last: str | None = None
        self._said_why = False

    def report(self, text: Any) -> None:
        """Report a text, from any thread. Never raises; after the end it does nothing."""
        try:
            newest = "" if text is None else str(text).strip()
            with self._lock:
                if self._ended or not newest:
                    return
                self._newest = newest
                if self._noticed:
                    return
                self._noticed = True
            self._loop.call_soon_threadsafe(self._start)
        except Exception as error:  # noqa: BLE001 - a text may be anything, and the loop closed
            self._say(error)

    def end(self) -> None:
        """Report nothing more: the request has its answer, or somebody else has the request.

        A report that is on its way is not taken back: the database refuses it if it comes too late.
        """
        with self._lock:
            self._ended, self._newest = True, None
        if self._idle is not None:
            self._idle.cancel()

    def _start(self) -> None:
        if self._sending is None:
            self._sending = self._loop.create_task(self._send_all())

    async def _send_all(self) -> None:
        while (text := self._take()) is not None:
            if text != self._last and await self._sent(text):
                self._last = text
            if self._ended:
                break
            self._idle = asyncio.create_task(asyncio.sleep(self._seconds_between))
            await asyncio.wait([self._idle])
        self._sending = None

    def _take(self) -> str | None:
        with self._lock:
            text, self._newest = self._newest, None
            if text is None:
                self._noticed = False
            return text

    async def _sent(self, text: str) -> bool:
        """Whether a text was reported; one that was not does not stop the next."""
        try:
            if await self._send(text):
                return True
            self.end()  # somebody else has the request
        except Exception as error:  # noqa: BLE001 - progress must never fail its request
            self._say(error)
        return False

    def _say(self, error: Exception) -> None:
        """Log why a report was lost: once for a request, and not after its end."""
        if not self._said_why and not self._ended:
            self._said_why = True
            log.warning("progress_lost", key=self.key, error=f"{type(error).__name__}: {error}")
