"""Who may read from and write to a private channel: the policies on `realtime.messages` decide."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psycopg

from tma_sandbox.realtime.database import Connection, Database
from tma_sandbox.realtime.tokens import Claims


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody at the door of a topic. `headers` are the connection's x-... headers."""

    topic: str
    claims: Claims
    headers: Mapping[str, str]


async def readable(database: Database, visitor: Visitor, extensions: list[str]) -> frozenset[str]:
    """Find out which kinds of messages of this topic the visitor's role would see.

    Sample messages are written, looked for in the visitor's name, and rolled back, as the real
    server does. A role or a policy that fails shows nothing. Raises psycopg.OperationalError
    when the database is away.
    """
    async with _rolled_back(database) as conn:
        cursor = await conn.execute(
            "insert into realtime.messages (topic, extension)"
            " select %s, unnest(%s::text[]) returning id",
            (visitor.topic, extensions),
        )
        samples = [id_ for (id_,) in await cursor.fetchall()]
        await _become(conn, visitor)
        cursor = await conn.execute(
            "select extension from realtime.messages where topic = %s and id = any(%s)",
            (visitor.topic, samples),
        )
        return frozenset([extension for (extension,) in await cursor.fetchall()])
    return frozenset()


async def may_write(database: Database, visitor: Visitor) -> bool:
    """Tell whether the visitor's role could add a broadcast to this topic."""
    async with _rolled_back(database) as conn:
        await _become(conn, visitor)
        await conn.execute(
            "insert into realtime.messages (topic, extension) values (%s, 'broadcast')",
            (visitor.topic,),
        )
        return True
    return False


@asynccontextmanager
async def _rolled_back(database: Database) -> AsyncIterator[Connection]:
    """Ask within a transaction that leaves no trace; what Postgres refuses ends it."""
    try:
        async with database.shared() as conn, conn.transaction(force_rollback=True):
            yield conn
    except psycopg.OperationalError:
        raise
    except psycopg.Error:
        return


async def _become(conn: Connection, visitor: Visitor) -> None:
    await conn.execute(
        """
        select set_config('role', %s, true),
               set_config('realtime.topic', %s, true),
               set_config('request.jwt.claims', %s, true),
               set_config('request.headers', %s, true)
        """,
        (
            visitor.claims.role,
            visitor.topic,
            visitor.claims.text,
            json.dumps(dict(visitor.headers)),
        ),
    )
