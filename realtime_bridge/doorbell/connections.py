"""The connections that are open at one time."""

import asyncio
from collections.abc import Callable

from realtime_bridge.doorbell.connection import Connection
from realtime_bridge.doorbell.subscription import Subscription


class Connections:
    """All open connections: one, or two while a successor is on its way."""

    def __init__(self, build: Callable[[Subscription], Connection]) -> None:
        self._build = build
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
