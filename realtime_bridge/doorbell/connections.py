"""The connections that are open at one time."""

import asyncio
from collections.abc import Callable
from functools import partial

from realtime_bridge.doorbell.bells import Bell
from realtime_bridge.doorbell.connection import Connection, Endpoint
from realtime_bridge.doorbell.subscription import Subscription
from realtime_bridge.doorbell.timing import Timing


class Connections:
    """All open connections: one, or two while a successor is on its way."""

    def __init__(
        self,
        endpoint: Endpoint,
        timing: Timing,
        clock: Callable[[], float],
        changed: Callable[[], None],
        rang: Callable[[Bell, str | None], None],
    ) -> None:
        self._build = partial(
            Connection, endpoint=endpoint, timing=timing, clock=clock, changed=changed, rang=rang
        )
        self.open: set[Connection] = set()

    def start(self, subscription: Subscription) -> Connection:
        """Build a connection and begin to connect."""
        connection = self._build(subscription)
        self.open.add(connection)
        connection.start()
        return connection

    async def close(self, *connections: Connection) -> None:
        """Close these completely, even if the caller is cancelled halfway through."""
        closing = asyncio.gather(*(asyncio.create_task(one.close()) for one in connections))
        cancelled = False
        while not closing.done():
            try:
                await asyncio.shield(closing)
            except asyncio.CancelledError:
                cancelled = True
        self.open.difference_update(connections)
        if cancelled:
            raise asyncio.CancelledError
