"""What the open pages are told: each part asked for at its own pace, once for all of them."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog

from realtime_bridge.database import Refused, Unavailable

log = structlog.get_logger()

TROUBLE = "trouble"
MOST_LISTENERS = 16
# A comment that nobody reads; without it a page that went away would be written to for ever.
_SIGN_OF_LIFE_SECONDS = 15.0
# A page that was sent out has so long to ask for its news before they are given up.
_EXPECTED_SECONDS = 10.0
# A database that answers slowly is asked less often: this share of the time, up to a longest pause.
_SHARE = 0.25
_LONGEST_PAUSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that the page shows; asked for again after `seconds`."""

    name: str
    seconds: float
    ask: Callable[[], Awaitable[Any]]


@dataclass(eq=False, slots=True)
class _Listener:
    """One open page: of each part the newest only, so that a slow one costs nothing."""

    news: dict[str, str] = field(default_factory=dict)
    there_is_some: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, name: str, text: str) -> None:
        self.news[name] = text
        self.there_is_some.set()

    def take(self) -> list[tuple[str, str]]:
        taken, self.news = list(self.news.items()), {}
        self.there_is_some.clear()
        return taken


class Feed:
    """Asks while somebody listens, and tells everybody what has changed."""

    def __init__(self, parts: Sequence[Part], written: Callable[[Any], str]) -> None:
        """`written` makes the text of a part's value."""
        self._parts = parts
        self._written = written
        self._listeners: set[_Listener] = set()
        self._asking: list[asyncio.Task[None]] = []
        self._expected: asyncio.TimerHandle | None = None
        self._last: dict[str, str] = {}
        self._troubles: dict[str, str] = {}
        self._hurry = {part.name: asyncio.Event() for part in parts}
        self._closed = False

    @property
    def is_full(self) -> bool:
        """Whether more pages are open than anybody looks at."""
        return len(self._listeners) >= MOST_LISTENERS

    async def close(self) -> None:
        """Let everybody go."""
        self._closed = True
        self._expect_nobody()
        for listener in self._listeners:
            listener.there_is_some.set()
        await self._rest()

    def expect(self) -> None:
        """A page is on its way: begin to ask, so that its news are there when it is."""
        self._begin()
        self._expect_nobody()
        if not self._closed:
            self._expected = asyncio.get_running_loop().call_later(_EXPECTED_SECONDS, self._give_up)

    def _expect_nobody(self) -> None:
        if self._expected is not None:
            self._expected.cancel()
            self._expected = None

    def _give_up(self) -> None:
        """Nobody came."""
        self._expected = None
        if not self._listeners:
            self._stop_asking()

    def hurry(self) -> None:
        """Ask for everything now: somebody has changed something."""
        for event in self._hurry.values():
            event.set()

    async def listen(self) -> AsyncGenerator[tuple[str, str] | None, None]:
        """Yield (part, text) for what is known and whatever changes; None as a sign of life."""
        listener = _Listener()
        for name, text in self._last.items():
            listener.tell(name, text)
        self._listeners.add(listener)
        self._expect_nobody()
        self._begin()
        try:
            while not self._closed:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_SIGN_OF_LIFE_SECONDS):
                        await listener.there_is_some.wait()
                news = listener.take()
                for one in news:
                    yield one
                if not news:
                    yield None
        finally:
            self._listeners.discard(listener)
            if not self._listeners and self._expected is None:
                await self._rest()

    def _begin(self) -> None:
        if not self._asking and not self._closed:
            self._asking = [asyncio.create_task(self._follow(part)) for part in self._parts]

    async def _rest(self) -> None:
        await asyncio.gather(*self._stop_asking(), return_exceptions=True)

    def _stop_asking(self) -> list[asyncio.Task[None]]:
        """Forget what was said: it would be old when somebody asks again."""
        asking, self._asking = self._asking, []
        for task in asking:
            task.cancel()
        self._last.clear()
        self._troubles.clear()
        return asking

    async def _follow(self, part: Part) -> None:
        hurry = self._hurry[part.name]
        while True:
            hurry.clear()  # before asking, so that what changes meanwhile is asked for again
            began = time.monotonic()
            await self._look(part)
            rest = min((time.monotonic() - began) / _SHARE, _LONGEST_PAUSE_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(part.seconds, rest)):
                    await hurry.wait()

    async def _look(self, part: Part) -> None:
        try:
            self._tell(part.name, self._written(await part.ask()))
            self._troubles.pop(part.name, None)
        except (Unavailable, Refused) as error:
            self._troubles[part.name] = str(error)
        except Exception:
            log.exception("dashboard_failed", part=part.name)
            self._troubles[part.name] = "The dashboard itself failed: see its log"
        self._tell(TROUBLE, self._written(next(iter(self._troubles.values()), None)))

    def _tell(self, name: str, text: str) -> None:
        if self._last.get(name) == text:
            return
        self._last[name] = text
        for listener in self._listeners:
            listener.tell(name, text)
