"""Old rows are deleted in small batches, so that deliveries do not notice."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from realtime_bridge.database import Refused, Unavailable

log = structlog.get_logger()

EVERY_SECONDS = 3600.0
PAUSE_SECONDS = 1.0
BATCH = 1000


class Retention:
    """Deletes rows that ended longer ago than `keep`."""

    def __init__(
        self, purge: Callable[[timedelta, int], Awaitable[int]], keep: timedelta | None
    ) -> None:
        """`purge(keep, limit)` deletes up to `limit` rows and says how many. None keeps all."""
        self._purge = purge
        self._keep = keep

    async def run(self) -> None:
        """Purge every hour, for ever."""
        if self._keep is None:
            await asyncio.Event().wait()
            return
        while True:
            purged = await self._purge_batch(self._keep)
            await asyncio.sleep(PAUSE_SECONDS if purged == BATCH else EVERY_SECONDS)

    async def _purge_batch(self, keep: timedelta) -> int:
        try:
            return await self._purge(keep, BATCH)
        except (Unavailable, Refused) as error:
            log.warning("purge_failed", error=str(error))
        except Exception:
            log.exception("purge_failed")  # deliveries go on
        return 0
