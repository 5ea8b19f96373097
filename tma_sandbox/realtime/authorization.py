"""Who may read and write a private channel, according to the policies on `realtime.messages`."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psycopg

from tma_sandbox.realtime.database import Connection, Database
from tma_sandbox.realtime.tokens import Claims


@dataclass(frozen=True, slots=True)
class AuthorizationContext:
    """What the policies of a topic may look at. `headers` are the connection's x-... headers."""

    topic: str
    claims: Claims
    headers: Mapping[str, str]


async def readable(
    database: Database, context: AuthorizationContext, extensions: list[str]
) -> frozenset[str]:
    """Return which kinds of messages on this topic the role would see.

    As the real server does, it inserts sample messages, selects them as the role, and rolls back.
    A role or a policy that raises an error sees nothing. Raises psycopg.OperationalError when the
    database is down.
    """
    async with _rolled_back(database) as conn:
        cursor = await conn.execute(
            "insert into realtime.messages (topic, extension)"
            " select %s, unnest(%s::text[]) returning id",
            (context.topic, extensions),
        )
        samples = [id_ for (id_,) in await cursor.fetchall()]
        await _become(conn, context)
        cursor = await conn.execute(
            "select extension from realtime.messages where topic = %s and id = any(%s)",
            (context.topic, samples),
        )
        return frozenset([extension for (extension,) in await cursor.fetchall()])
    return frozenset()


async def may_write(database: Database, context: AuthorizationContext) -> bool:
    """Whether the role could insert a broadcast on this topic."""
    async with _rolled_back(database) as conn:
        await _become(conn, context)
        await conn.execute(
            "insert into realtime.messages (topic, extension) values (%s, 'broadcast')",
            (context.topic,),
        )
        return True
    return False


@asynccontextmanager
async def _rolled_back(database: Database) -> AsyncIterator[Connection]:
    """Open a transaction that leaves no trace; an error from Postgres only ends it."""
    try:
        async with database.shared() as conn, conn.transaction(force_rollback=True):
            yield conn
    except psycopg.OperationalError:
        raise
    except psycopg.Error:
        return


async def _become(conn: Connection, context: AuthorizationContext) -> None:
    await conn.execute(
        """
        select set_config('role', %s, true),
               set_config('realtime.topic', %s, true),
               set_config('request.jwt.claims', %s, true),
               set_config('request.headers', %s, true)
        """,
        (
            context.claims.role,
            context.topic,
            context.claims.text,
            json.dumps(dict(context.headers)),
        ),
    )
