"""Connections to Postgres that print values as a hosted project does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import AsyncConnection

Connection = AsyncConnection[Any]

_PRINTING = (
    "-c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres"
    " -c bytea_output=hex -c extra_float_digits=1"
)


class Database:
    """One database: dedicated connections, and a shared one for short queries."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._shared: Connection | None = None
        self._turn = asyncio.Lock()

    async def connect(self, name: str) -> Connection:
        """Open a connection; pg_stat_activity shows `name`.

        Raises psycopg.OperationalError when the database is down.
        """
        return await AsyncConnection.connect(
            self._dsn,
            autocommit=True,
            application_name=f"realtime_{name}",
            options=_PRINTING,
            connect_timeout=5,
        )

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[Connection]:
        """Take a turn on the shared connection, reconnecting it if it was lost.

        Raises psycopg.OperationalError when the database is down.
        """
        async with self._turn:
            if self._shared is None or self._shared.closed:
                self._shared = await self.connect("connect")
            try:
                yield self._shared
            except psycopg.OperationalError:
                # The connection is broken or soon will be: the next caller opens a new one.
                await self._shared.close()
                raise

    async def close(self) -> None:
        """Close the shared connection."""
        if self._shared is not None:
            await self._shared.close()
