"""One sweep for all lanes: while nothing happens, one call a period looks after everything."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from math import inf
from typing import Any

import structlog

from realtime_bridge.database import Refused, Unavailable
from realtime_bridge.model import Recovered
from realtime_bridge.worker.condition import Condition, waits
from realtime_bridge.worker.pump import Pump

log = structlog.get_logger()

# A bell that rang for nothing due may have rung for a row of the near future: a sweep finds out
# when it is due, but not more often than this.
LOOK_AHEAD_SECONDS = 1.0


class Sweeper:
    """Takes back what dead workers held, and tells each lane when its next row is due."""

    def __init__(
        self,
        sweep: Callable[[], Awaitable[Mapping[str, Recovered]]],
        *,
        interval: Callable[[], float],
        settle_first: Callable[[], float] = lambda: -inf,
        waits: Callable[[], Iterator[float]] = waits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`sweep()` sweeps all lanes, and says by name what was found; see sweep_tma.

        `interval()`: seconds between sweeps, asked at each. `settle_first()`: the moment before
        which outcomes are written that waited while the database was away.
        """
        self._sweep = sweep
        self._lanes: list[Pump[Any, Any]] = []
        self._interval = interval
        self._clock = clock
        self._condition = Condition(self._report_down, lambda: None, waits, clock)
        self._asked = False  # for a sweep soon, during a sweep
        self._deadline = -inf
        self._swept_at = -inf
        self._settle_first = settle_first
        self._moved = asyncio.Event()

    @property
    def problem(self) -> str | None:
        """Why the database does not answer."""
        return self._condition.problem

    def follow(self, *lanes: Pump[Any, Any]) -> None:
        """Tell these lanes what is found."""
        self._lanes += lanes

    def soon(self) -> None:
        """Sweep within a second: a row may be due soon that nobody knows of."""
        self._asked = True
        self._sweep_by(self._swept_at + LOOK_AHEAD_SECONDS)

    def hurry(self) -> None:
        """Ask `interval()` again: it became shorter."""
        self._sweep_by(self._swept_at + self._interval())

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            await self._rest()
            await self.step()

    async def step(self) -> None:
        """Sweep once; if nobody answers, the next sweep comes after a while."""
        self._asked = False  # before the sweep, so that whoever asks during it is heard
        for lane in self._lanes:
            lane.sweeping()
        try:
            found = self._usable(await self._sweep())
        except (Unavailable, Refused) as error:
            self._failed(error)
            return
        except Exception as error:  # a bug, which must not end the sweeps
            log.exception("sweep_bug")
            self._failed(Unavailable(f"a bug of the bridge, see the log: {type(error).__name__}"))
            return
        self._condition.answered()
        self._swept_at = self._clock()
        self._deadline = self._swept_at + self._interval()
        if self._asked:
            self.soon()
        for lane in self._lanes:
            if lane.lane in found:
                lane.swept(found[lane.lane])
            else:  # its table may be gone: let it ask, and hear why
                lane.ask_by(self._swept_at)

    def _report_down(self, error: Unavailable | Refused) -> None:
        """Let the first lane report it, whose next answer shows that the database is there."""
        self._lanes[0].tell_down(error)

    def _usable(self, found: Mapping[str, Recovered]) -> Mapping[str, Recovered]:
        """Only the first lane must be there: nobody else would take its rows back."""
        if self._lanes[0].lane not in found:
            raise Unavailable(f"sweep_tma says nothing of {self._lanes[0].lane}")
        return found

    def _failed(self, error: Unavailable | Refused) -> None:
        again = self._condition.failed(error)
        self._deadline = again
        for lane in self._lanes:
            lane.ask_by(again)

    def _sweep_by(self, when: float) -> None:
        if when < self._deadline:
            self._deadline = when
            self._moved.set()

    def _next(self) -> float:
        return max(self._deadline, self._condition.settle_until, self._settle_first())

    async def _rest(self) -> None:
        """Wait until it is time, which may come nearer or move away meanwhile."""
        while (seconds := self._next() - self._clock()) > 0:
            self._moved.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._moved.wait()
            except TimeoutError:
                pass
