"""Outcomes that are known get written, whatever the database does meanwhile."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import structlog

from realtime_bridge.base import Stopwatch
from realtime_bridge.database import Refused, Unavailable
from realtime_bridge.worker.ports import Queue

log = structlog.get_logger()

Row = TypeVar("Row")
Result = TypeVar("Result")


class OutcomeWriter(Generic[Row, Result]):
    """Writes each outcome in a task of its own: stop or no stop, it gets written."""

    def __init__(
        self,
        lane: str,
        queue: Queue[Row, Result],
        *,
        lease: float,
        failed: Callable[[Unavailable | Refused], None],
        waits: Callable[[], Iterator[float]],
        clock: Callable[[], float],
    ) -> None:
        """`lease`: seconds for which an outcome that the queue refuses is tried again.

        While the queue answers none, or refuses all, each is tried for as long as this lane
        runs: while it is away nobody else gets the row either. `failed` is told of each try.
        """
        self._lane = lane
        self._queue = queue
        self._lease = lease
        self._failed = failed
        self._waits = waits
        self._clock = clock
        self._writing: set[asyncio.Task[Any]] = set()

    @property
    def unwritten(self) -> int:
        """Outcomes that are known and not yet written."""
        return len(self._writing)

    def write(
        self,
        row: Row,
        outcome: Result,
        stopwatch: Stopwatch,
        written: Callable[[bool], None],
        done: Callable[[], None],
    ) -> None:
        """Write it. `written(held)` is called when it is, `done()` at the end in any case."""
        task = asyncio.create_task(self._write(row, outcome, stopwatch, written))
        self._writing.add(task)

        def end(task: asyncio.Task[None]) -> None:
            self._writing.discard(task)
            done()

        task.add_done_callback(end)

    async def last_words(self, seconds: float) -> None:
        """Give outcomes that are known some time more to be written."""
        if self._writing:
            _, unwritten = await asyncio.wait(list(self._writing), timeout=seconds)
            for task in unwritten:
                task.cancel()

    async def _write(
        self, row: Row, outcome: Result, stopwatch: Stopwatch, written: Callable[[bool], None]
    ) -> None:
        until = self._clock() + self._lease
        for wait in self._waits():
            try:
                held = await self._queue.settle(row, outcome)
            except Unavailable as error:
                self._failed(error)
                await asyncio.sleep(wait)
            except Refused as error:
                self._failed(error)
                if self._clock() > until and not error.of_all:
                    log.error("settle_refused", lane=self._lane, error=str(error))
                    return
                await asyncio.sleep(wait)
            except Exception as error:
                # A bug: it may pass, with the next version of a function.
                log.exception("settle_raised", lane=self._lane, error=type(error).__name__)
                if self._clock() > until:
                    return
                await asyncio.sleep(wait)
            else:
                stopwatch.lap("settle")
                written(held)
                return
