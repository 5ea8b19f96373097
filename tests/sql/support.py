"""What the tests of the SQL contract share: rows, workers, and time that passes at once."""

import json
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self, TypeVar
from uuid import UUID, uuid4

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tma_sandbox.postgres import Postgres

Answer = TypeVar("Answer")

Row = dict[str, Any]
Connection = psycopg.Connection[Row]


def connect(dsn: str, role: str = "postgres", *, autocommit: bool = True) -> Connection:
    """A session whose rows are dictionaries, in the role that PostgREST would take on."""
    connection = psycopg.connect(dsn, autocommit=True, row_factory=dict_row)
    if role != "postgres":
        connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
    connection.autocommit = autocommit
    return connection


def dumped(postgres: Postgres, dsn: str) -> list[str]:
    """The whole schema, grants and comments too, as pg_dump writes it, in an order of its own."""
    dump = subprocess.run(
        [postgres.tool("pg_dump"), "--schema-only", dsn], capture_output=True, text=True, check=True
    ).stdout
    return sorted(line for line in dump.splitlines() if not re.match(r"--|\\|$", line))


def insert(connection: Connection, table: str = "tma_events", **columns: Any) -> int:
    """Insert a row, by default of chat 1; the id of it.

    `due_in` and `created_in` are seconds from now, negative for the past.
    """
    values = {"telegram_id": 1} | columns
    if table == "tma_events":
        values = {"event_type": "step_completed"} | values
    times = {
        "deliver_after": values.pop("due_in", None),
        "created_at": values.pop("created_in", None),
    }
    given = {name: seconds for name, seconds in times.items() if seconds is not None}
    inserted = connection.execute(
        sql.SQL("insert into public.{} ({}) values ({}) returning id").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, [*values, *given])),
            sql.SQL(", ").join(
                [sql.Placeholder()] * len(values)
                + [sql.SQL("now() + make_interval(secs => %s)")] * len(given)
            ),
        ),
        [
            *(Jsonb(v) if isinstance(v, dict | list) else v for v in values.values()),
            *given.values(),
        ],
    ).fetchone()
    assert inserted
    return int(inserted["id"])


def _adapted(value: Any) -> Any:
    return Jsonb(value) if isinstance(value, dict | list) else value


def read(connection: Connection, row_id: int, table: str = "tma_events") -> Row:
    """The whole row of that id."""
    row = connection.execute(
        sql.SQL("select * from public.{} where id = %s").format(sql.Identifier(table)), [row_id]
    ).fetchone()
    assert row is not None
    return row


def put_back(
    connection: Connection, seconds: float, *row_ids: int, table: str = "tma_events"
) -> None:
    """Let `seconds` pass for these rows: every time in them moves into the past."""
    columns = ["created_at", "retry_at", "claimed_at", "settled_at"]
    if table == "tma_events":
        columns += ["deliver_after", "send_started_at", "delivered_at"]
    moves = [
        sql.SQL("{0} = {0} - make_interval(secs => %(by)s)").format(sql.Identifier(name))
        for name in columns
    ]
    connection.execute(
        sql.SQL("update public.{} set {} where id = any (%(ids)s)").format(
            sql.Identifier(table), sql.SQL(", ").join(moves)
        ),
        {"by": seconds, "ids": list(row_ids)},
    )


def token(row: Mapping[str, Any]) -> Row:
    """What proves to be the holder of a claimed row."""
    return {"id": row["id"], "attempt": row["attempt"]}


class Worker:
    """One replica's session, calling the functions as PostgREST does: as service_role."""

    def __init__(
        self,
        dsn: str,
        lane: str = "tma_events",
        *,
        role: str = "service_role",
        autocommit: bool = True,
    ) -> None:
        self.connection = connect(dsn, role, autocommit=autocommit)
        self.lane = lane

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def commit(self) -> None:
        """End the transaction of a session that was opened without autocommit."""
        self.connection.commit()

    def call(self, function: str, *arguments: Any) -> list[Row]:
        """The rows that `public.function` returns."""
        return self.connection.execute(
            sql.SQL("select * from public.{}({}) answer").format(
                sql.Identifier(function),
                sql.SQL(", ").join([sql.Placeholder()] * len(arguments)),
            ),
            [_adapted(argument) for argument in arguments],
        ).fetchall()

    def call_lane(self, verb: str, *arguments: Any) -> list[Row]:
        """The rows that the function of this verb returns of the worker's lane."""
        if self.lane == "tma_events":
            return self.call(f"{verb}_tma_events", *arguments)
        return self.call(f"{verb}_tma_requests", self.lane, *arguments)

    def claim(self, limit: int = 100, **more: Any) -> list[Row]:
        """The rows claimed; of events none has been started, unless asked for."""
        if self.lane == "tma_events":
            rows: list[Row] = self.ask(limit, **more)["rows"]
            return rows
        return [json.loads(row["request"]) for row in self.call_lane("claim", limit)]

    def ask(
        self,
        limit: int = 100,
        *,
        key: UUID | None = None,
        limits: Any = None,
        start_now: int = 0,
        digests: Any = None,
    ) -> Row:
        """The whole answer to a claim of events."""
        (row,) = self.call("claim_tma_events", limit, key or uuid4(), limits, start_now, digests)
        answer: Row = row["answer"]
        rows = [claimed | {"payload": json.loads(claimed["payload"])} for claimed in answer["rows"]]
        return answer | {"rows": rows}

    def start(self, *claims: Mapping[str, Any]) -> set[int]:
        """The ids that may be sent."""
        return self._ids("start", map(token, claims))

    def settle(self, *outcomes: Mapping[str, Any]) -> set[int]:
        """The ids accepted."""
        return self._ids("settle", outcomes)

    def release(self, *claims: Mapping[str, Any], **more: Any) -> set[int]:
        """The ids released."""
        return self._ids("release", (token(claim) | more for claim in claims))

    def recover(self, lease: float = 120, *, resend: bool = False) -> Row:
        """The counts of what was recovered."""
        arguments: list[Any] = [f"{lease} seconds"]
        if self.lane == "tma_events":
            arguments.append(resend)
        (counts,) = self.call_lane("recover", *arguments)
        return counts

    def _ids(self, verb: str, items: Iterable[Mapping[str, Any]]) -> set[int]:
        rows = self.call_lane(verb, [dict(item) for item in items])
        return {row["answer"] for row in rows}


def delivered(row: Mapping[str, Any], message_id: int = 77) -> Row:
    """The outcome of a message that Telegram accepted."""
    return token(row) | {"status": "delivered", "message_id": message_id}


def failed(row: Mapping[str, Any], failure: str = "blocked", error: str = "bot was blocked") -> Row:
    """The outcome of a message that will never be delivered."""
    return token(row) | {"status": "failed", "failure": failure, "error": error}


def limits(**changes: float) -> Row:
    """The limits of the defaults, for claims that are paced."""
    return {
        "bot_per_second": 30,
        "chat_per_second": 1,
        "chat_burst": 3,
        "group_per_minute": 20,
    } | changes


def retry(row: Mapping[str, Any], after: float = 0, **more: Any) -> Row:
    """The outcome of an attempt that sent nothing."""
    return token(row) | {"status": "pending", "retry_in": after} | more


# Index entries and rows of a table that this session has read and not reported yet.
_READ = """
    select sum(pg_stat_get_xact_tuples_returned(relation))::bigint as tuples
    from (
        select %(table)s::regclass::oid
        union all
        select indexrelid from pg_index where indrelid = %(table)s::regclass
    ) relations (relation)
"""


def read_by(worker: Worker, call: Callable[[], Answer], table: str) -> tuple[int, Answer]:
    """How many index entries and rows of a table a call reads; and its answer."""

    def read() -> int:
        row = worker.connection.execute(_READ, {"table": table}).fetchone()
        assert row
        return int(row["tuples"])

    with worker.connection.transaction():  # it reports between transactions only
        before = read()
        answer = call()
        return read() - before, answer
