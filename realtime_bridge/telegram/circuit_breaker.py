"""Whether Telegram answers at all."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from math import inf

from realtime_bridge.base import delays
from realtime_bridge.outcomes import Halted

# While Telegram does not answer it is asked at least so often.
WAIT_CAP_SECONDS = 15.0


def _waits() -> Iterator[float]:
    return delays(cap=WAIT_CAP_SECONDS)


class CircuitBreaker:
    """The line to Telegram, which is in doubt after a message without a clear answer.

    Then a call that does no harm must be answered before the next message goes: in an outage only
    what was under way is uncertain, not the whole backlog.
    """

    def __init__(
        self,
        probe: Callable[[], Awaitable[str | None]],
        waits: Callable[[], Iterator[float]] = _waits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`probe()` says why there is no answer, or None. `waits()`: seconds between probes."""
        self._probe = probe
        self._waits = waits
        self._clock = clock
        self._doubts = 0
        self._why = ""
        self._tries = waits()
        self._next_try_at = -inf
        self._one_at_a_time = asyncio.Lock()

    @property
    def in_doubt(self) -> bool:
        """Whether a call that does no harm must be answered first."""
        return bool(self._doubts)

    def doubt(self) -> None:
        """Tell that a message got no clear answer."""
        self._doubts += 1

    async def test(self) -> Halted | None:
        """Say that nothing can be sent, or None: messages may go."""
        if not self._doubts:
            return None
        async with self._one_at_a_time:
            return await self._ask()

    async def _ask(self) -> Halted | None:
        doubts = self._doubts
        if doubts and self._clock() >= self._next_try_at:
            self._why = await self._probe() or ""
            if self._why:
                self._next_try_at = self._clock() + next(self._tries)
            else:
                self._doubts -= doubts  # those that came meanwhile stay
                self._tries = self._waits()
        if not self._why:
            return None
        return Halted(self._why, after=max(self._next_try_at - self._clock(), 0.0))
