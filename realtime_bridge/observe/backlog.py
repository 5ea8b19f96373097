"""How many rows wait in the database, for the metrics."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from pydantic import BaseModel, FiniteFloat, TypeAdapter

from realtime_bridge.database import Refused, Rpc, Unavailable, shaped
from realtime_bridge.observe.metrics import Metrics

MAX_AGE_SECONDS = 15.0
TIMEOUT_SECONDS = 3.0  # a scrape must not wait for a database that is away


class LaneBacklog(BaseModel):
    """The rows that wait in one lane."""

    pending: FiniteFloat
    oldest_pending_seconds: FiniteFloat


_BACKLOG = TypeAdapter(dict[str, LaneBacklog])  # by lane


class Backlog:
    """Counts waiting rows when the metrics are read, at most once every 15 seconds.

    A bridge that nobody scrapes asks nothing. While the database does not answer, the gauges keep
    their last values.
    """

    def __init__(
        self,
        rpc: Rpc,
        metrics: Metrics,
        *,
        max_age: float = MAX_AGE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`max_age`: seconds for which an answer is used again."""
        self._rpc = rpc
        self._metrics = metrics
        self._max_age = max_age
        self._clock = clock
        self._asked_at: float | None = None
        self._refreshing = asyncio.Lock()

    async def refresh(self) -> None:
        """Update the gauges; never raises, and takes 3 seconds at most."""
        async with self._refreshing:
            if self._asked_at is not None and self._clock() - self._asked_at < self._max_age:
                return
            self._asked_at = self._clock()
            with suppress(Unavailable, Refused, TimeoutError):
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    answer = await self._rpc.call("tma_backlog")
                    self._show(shaped(_BACKLOG, "tma_backlog", answer))

    def _show(self, backlog: dict[str, LaneBacklog]) -> None:
        for lane, rows in backlog.items():
            self._metrics.pending.labels(lane).set(rows.pending)
            self._metrics.oldest_pending.labels(lane).set(rows.oldest_pending_seconds)
