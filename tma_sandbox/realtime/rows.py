"""Rows from the log, sent back to Postgres to be compared or formatted as JSON.

The log has every value as text, and only Postgres knows the types. Many rows go in one statement.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from psycopg import AsyncRawCursor, sql

from tma_sandbox.realtime.database import Connection
from tma_sandbox.realtime.frames import Json
from tma_sandbox.realtime.tables import Table
from tma_sandbox.realtime.wal import Fields

_MOST_PAIRS = 50  # a function takes 100 arguments


async def matching(
    conn: Connection,
    rows: Mapping[int, Fields],
    columns: Sequence[str],
    condition: sql.Composable,
) -> Collection[int]:
    """Return the numbers of the rows for which `condition` holds.

    The condition refers to the texts of `columns` as c0, c1, ... in this order.
    """
    if not rows:
        return ()
    numbers = list(rows)
    query = sql.SQL("select n from {} where {}").format(_source(len(columns)), condition)
    values = [[row[column] for row in rows.values()] for column in columns]
    return {numbers[n - 1] for (n,) in await _fetch(conn, query, values)}


def named(at: int) -> sql.Identifier:
    """Return the name that a condition uses for the column at this index."""
    return sql.Identifier(f"c{at}")


async def written(
    conn: Connection, table: Table, rows: Sequence[Fields], small_only: Sequence[bool]
) -> list[Json]:
    """Format each row as jsonb; where `small_only` is set, without values over 64 bytes."""
    texts = [Json("{}")] * len(rows)
    alike = defaultdict(list)
    for place, (row, is_small) in enumerate(zip(rows, small_only, strict=True)):
        alike[tuple(row), is_small].append(place)
    for (columns, is_small), places in alike.items():
        if not columns:
            continue
        query = sql.SQL("select {}::text from {} order by n").format(
            _small_part(_object(table, columns)) if is_small else _object(table, columns),
            _source(len(columns)),
        )
        values = [[rows[place][column] for place in places] for column in columns]
        found = await _fetch(conn, query, values)
        for place, (text,) in zip(places, found, strict=True):
            texts[place] = Json(text)
    return texts


async def _fetch(
    conn: Connection, query: sql.Composed, values: Sequence[Sequence[str | None]]
) -> list[tuple[Any, ...]]:
    # Raw, because names and values in the query may contain percent signs.
    cursor = AsyncRawCursor(conn)
    await cursor.execute(query, values)
    return await cursor.fetchall()


def _object(table: Table, columns: Sequence[str]) -> sql.Composed:
    pairs = [
        sql.SQL("{}::text, {}::{}").format(sql.Literal(column), named(at), table.cast(column))
        for at, column in enumerate(columns)
    ]
    objects = [
        sql.SQL("jsonb_build_object({})").format(sql.SQL(", ").join(pairs[at : at + _MOST_PAIRS]))
        for at in range(0, len(pairs), _MOST_PAIRS)
    ]
    return sql.SQL("({})").format(sql.SQL(" || ").join(objects))


def _small_part(whole: sql.Composed) -> sql.Composed:
    return sql.SQL(
        "(select coalesce(jsonb_object_agg(key, value), '{{}}') from jsonb_each({})"
        " where octet_length(value::text) <= 64 and value <> 'null')"
    ).format(whole)


def _source(columns: int) -> sql.Composed:
    """Build a row source from the parameters: one text array per column."""
    arrays = sql.SQL(", ").join([sql.SQL(f"${at + 1}::text[]") for at in range(columns)])
    names = sql.SQL(", ").join([named(at) for at in range(columns)])
    return sql.SQL("unnest({}) with ordinality as r({}, n)").format(arrays, names)
