"""When to look at the connection."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from realtime_bridge.doorbell.timing import Timing


class Ticker:
    """Ticks whenever something has changed, and at regular intervals anyway."""

    def __init__(self, timing: Timing, clock: Callable[[], float]) -> None:
        self._changed = asyncio.Event()
        self._timing = timing
        self._clock = clock
        self._ticked = clock()

    def changed(self) -> None:
        """Tick now."""
        self._changed.set()

    async def tick(self) -> bool:
        """Wait for the next tick; True if the process seems to have been asleep meanwhile."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timing.look_every):
                await self._changed.wait()
        self._changed.clear()
        now, ticked = self._clock(), self._ticked
        self._ticked = now
        return now - ticked > self._timing.look_every + self._timing.oversleep
