"""The contenders' queues: how to fill them, and how much is left."""

import json
from contextlib import AsyncExitStack
from typing import Any, Protocol, Self

import asyncpg  # type: ignore[import-untyped]
import psycopg
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.queries import Queries
from procrastinate import App, PsycopgConnector

from benchmarks.stage import Stage

FIRST_CHAT = 1_000_000
ENTRYPOINT = "send"


def text_of(chat: int, number: int) -> str:
    """The message that every contender sends: the text of the bridge's template."""
    return f"Lead status updated: Lead {chat} → seq{number}"


class Queue(Protocol):
    """The queue of one kind of contender."""

    name: str

    async def load(self, rows: int, chats: int) -> None:
        """Add rows in one transaction, spread over the chats and numbered within each."""

    async def add(self, chat: int, number: int) -> None:
        """Add one row and commit."""

    async def left(self) -> int:
        """Count what is not finished."""

    async def clear(self) -> None:
        """Remove everything."""

    async def wal(self) -> int:
        """How many bytes of WAL the server has written."""


class _Direct:
    """One direct connection."""

    name = ""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    async def execute(self, statement: str) -> None:
        """Run a statement without a result."""
        await self._connection.execute(statement)

    async def value(self, query: str, *values: Any) -> Any:
        """The first column of the first row."""
        row = await (await self._connection.execute(query, values)).fetchone()
        return row[0] if row else None

    async def wal(self) -> int:
        """How many bytes of WAL the server has written."""
        return int(await self.value("select pg_current_wal_insert_lsn() - '0/0'"))


class Events(_Direct):
    """public.tma_events, which the bridge and the poller read."""

    name = "events"

    async def load(self, rows: int, chats: int) -> None:
        """Add rows in one transaction."""
        await self._connection.execute(
            """
            insert into tma_events (telegram_id, event_type, payload)
            select %s::bigint + n %% %s, 'status_changed', jsonb_build_object(
                'lead_name', 'Lead ' || (%s::bigint + n %% %s), 'new_status', 'seq' || (n / %s)
            )
            from generate_series(0, %s - 1) n
            """,
            (FIRST_CHAT, chats, FIRST_CHAT, chats, chats, rows),
        )

    async def add(self, chat: int, number: int) -> None:
        """Add one row."""
        payload = {"lead_name": f"Lead {chat}", "new_status": f"seq{number}"}
        await self._connection.execute(
            "insert into tma_events (telegram_id, event_type, payload)"
            " values (%s, 'status_changed', %s)",
            (chat, json.dumps(payload)),
        )

    async def left(self) -> int:
        """Count what is not finished."""
        return int(await self.value("select count(*) from tma_events where settled_at is null"))

    async def clear(self) -> None:
        """Remove everything."""
        await self._connection.execute("truncate tma_events")
        await self._connection.execute("vacuum analyze tma_events")


class PgQueuerJobs(_Direct):
    """PgQueuer's own table, filled by its own client."""

    name = "pgqueuer"

    def __init__(self, connection: psycopg.AsyncConnection[Any], queries: Queries) -> None:
        super().__init__(connection)
        self._queries = queries

    async def load(self, rows: int, chats: int) -> None:
        """Add rows in one transaction."""
        await self._queries.enqueue(
            [ENTRYPOINT] * rows,
            [_job(FIRST_CHAT + n % chats, n // chats) for n in range(rows)],
            [0] * rows,
        )

    async def add(self, chat: int, number: int) -> None:
        """Add one row."""
        await self._queries.enqueue(ENTRYPOINT, _job(chat, number))

    async def left(self) -> int:
        """Count what is not finished."""
        return int(await self.value("select count(*) from pgqueuer"))

    async def clear(self) -> None:
        """Remove everything."""
        await self._connection.execute("truncate pgqueuer, pgqueuer_log")
        await self._connection.execute("vacuum analyze pgqueuer")


def _job(chat: int, number: int) -> bytes:
    return json.dumps({"chat": chat, "number": number}).encode()


def _arguments(chat: int, number: int) -> dict[str, Any]:
    return {"chat": chat, "number": number}


class ProcrastinateJobs(_Direct):
    """Procrastinate's own tables, filled by its own client."""

    name = "procrastinate"

    def __init__(self, connection: psycopg.AsyncConnection[Any], app: App) -> None:
        super().__init__(connection)
        self._defer = app.configure_task(ENTRYPOINT)

    async def load(self, rows: int, chats: int) -> None:
        """Add rows in one transaction."""
        await self._defer.batch_defer_async(
            *(_arguments(FIRST_CHAT + n % chats, n // chats) for n in range(rows))
        )

    async def add(self, chat: int, number: int) -> None:
        """Add one row."""
        await self._defer.defer_async(chat=chat, number=number)

    async def left(self) -> int:
        """Count what is not finished."""
        return int(
            await self.value(
                "select count(*) from procrastinate_jobs where status in ('todo', 'doing')"
            )
        )

    async def clear(self) -> None:
        """Remove everything."""
        await self._connection.execute("truncate procrastinate_jobs cascade")
        await self._connection.execute("vacuum analyze procrastinate_jobs")


class Queues:
    """All three queues on one stage, each in its own database."""

    events: Events
    pgqueuer: PgQueuerJobs
    procrastinate: ProcrastinateJobs

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._cleanup = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.events = Events(await self._connect("postgres"))
        self.pgqueuer = await self._install_pgqueuer()
        self.procrastinate = await self._install_procrastinate()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._cleanup.aclose()

    def env(self) -> dict[str, str]:
        """The database settings of the other contenders' workers."""
        return {
            "PGQUEUER_URL": self._stage.postgres.dsn("pgqueuer"),
            "PROCRASTINATE_URL": self._stage.postgres.dsn("procrastinate"),
        }

    async def _connect(self, database: str) -> psycopg.AsyncConnection[Any]:
        return await self._cleanup.enter_async_context(
            await psycopg.AsyncConnection.connect(
                self._stage.postgres.dsn(database), autocommit=True
            )
        )

    async def _install_pgqueuer(self) -> PgQueuerJobs:
        dsn = self._stage.postgres.create_database("pgqueuer")
        connection = await asyncpg.connect(dsn)
        self._cleanup.push_async_callback(connection.close)
        queries = Queries(AsyncpgDriver(connection))
        await queries.install()
        return PgQueuerJobs(await self._connect("pgqueuer"), queries)

    async def _install_procrastinate(self) -> ProcrastinateJobs:
        dsn = self._stage.postgres.create_database("procrastinate")
        app = App(connector=PsycopgConnector(conninfo=dsn))
        await self._cleanup.enter_async_context(app.open_async())
        await app.schema_manager.apply_schema_async()
        return ProcrastinateJobs(await self._connect("procrastinate"), app)
