"""How much waits in the database, for whoever looks at the metrics."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from pydantic import BaseModel, FiniteFloat, TypeAdapter

from realtime_bridge.database import Refused, Rpc, Unavailable, shaped
from realtime_bridge.observe.metrics import Metrics

KEEP_SECONDS = 15.0
PATIENCE_SECONDS = 3.0  # a scrape must not wait for a database that is away


class Waiting(BaseModel):
    """What waits in a lane."""

    pending: FiniteFloat
    oldest_pending_seconds: FiniteFloat


_BACKLOG = TypeAdapter(dict[str, Waiting])  # by lane


class Backlog:
    """Asks when the metrics are read, but not more often than every quarter of a minute.

    A bridge that nobody scrapes asks nothing. While the database does not answer, the gauges keep
    what they last showed; `bridge_queue_errors_total` tells of it.
    """

    def __init__(
        self,
        rpc: Rpc,
        metrics: Metrics,
        *,
        keep: float = KEEP_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`keep`: seconds for which an answer is young."""
        self._rpc = rpc
        self._metrics = metrics
        self._keep = keep
        self._clock = clock
        self._asked_at: float | None = None
        self._one_at_a_time = asyncio.Lock()

    async def refresh(self) -> None:
        """Bring the gauges up to date; never raises, and takes a few seconds at most."""
        async with self._one_at_a_time:
            if self._asked_at is not None and self._clock() - self._asked_at < self._keep:
                return
            self._asked_at = self._clock()
            with suppress(Unavailable, Refused, TimeoutError):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    answer = await self._rpc.call("tma_backlog")
                    self._show(shaped(_BACKLOG, "tma_backlog", answer))

    def _show(self, backlog: dict[str, Waiting]) -> None:
        for lane, waiting in backlog.items():
            self._metrics.pending.labels(lane).set(waiting.pending)
            self._metrics.oldest_pending.labels(lane).set(waiting.oldest_pending_seconds)
