"""Subscriptions to changes, and the check that a binding must pass to become one."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg
from psycopg import sql

from tma_sandbox.realtime import comparison, tables
from tma_sandbox.realtime.bindings import Binding, BindingError, Filter
from tma_sandbox.realtime.database import Connection
from tma_sandbox.realtime.tables import Table
from tma_sandbox.realtime.tokens import Claims

_MOST_IN_VALUES = 100


class Subscriber(Protocol):
    """What receives the changes."""

    def changed(self, data: dict[str, Any], ids: list[int]) -> None:
        """Take one change; `ids` are the bindings that asked for it."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Subscription:
    """One binding of one subscriber, served with the rights of `claims`."""

    binding_id: int
    binding: Binding
    claims: Claims
    subscriber: Subscriber


async def check(
    conn: Connection, publication: str, requested: Iterable[Binding], claims: Claims
) -> None:
    """Check that this role can subscribe to all of these bindings.

    Raises BindingError with the real server's text for the first invalid one: an invalid binding
    fails its whole join. Raises psycopg.OperationalError when the database is down.
    """
    names = await tables.published(conn, publication)
    for binding in requested:
        covered = [name for name in names if binding.covers(*name)]
        if not covered:
            raise BindingError(
                "Unable to subscribe to changes with given parameters. Please check Realtime is "
                f"enabled for the given connect parameters: [{binding}]"
            )
        try:
            for schema, name in covered:
                await _check_table(conn, schema, name, binding, claims.role)
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            raise BindingError(
                "Unable to subscribe to changes with given parameters. An exception happened so "
                f"please check your connect parameters: [{binding}]. Exception: {_printed(error)}"
            ) from error


async def _check_table(
    conn: Connection, schema: str, name: str, binding: Binding, role: str
) -> None:
    # Raises what the real server prints if there is no such role.
    await conn.execute("select has_schema_privilege(%s, 'pg_catalog', 'usage')", (role,))
    table = await tables.look_up(conn, schema, name, [role])
    if table is None:
        return
    for wanted in binding.filters:
        if wanted.column not in table.readable[role]:
            raise psycopg.errors.RaiseException(f"invalid column for filter {wanted.column}")
        await _check_filter(conn, table, wanted)
    for column in binding.select or ():
        if column not in table.readable[role]:
            raise psycopg.errors.RaiseException(f"invalid column for select {column}")


async def _check_filter(conn: Connection, table: Table, wanted: Filter) -> None:
    cast, value = table.cast(wanted.column), sql.Literal(wanted.value)
    if wanted.operator == "in":
        query = sql.SQL("select cardinality({}::{}[])").format(value, cast)
        if await _scalar(conn, query) > _MOST_IN_VALUES:
            raise psycopg.errors.RaiseException("too many values for `in` filter. Maximum 100")
        return
    if wanted.operator == "is" and wanted.value not in comparison.IS_WORDS:
        raise psycopg.errors.RaiseException(
            "invalid value for is filter: must be null, true, false, or unknown"
        )
    if wanted.operator not in ("is", "like", "ilike", "match", "imatch"):
        await _scalar(conn, sql.SQL("select {}::{}").format(value, cast))
    left = sql.SQL("null" if wanted.operator == "is" else "{}").format(value)
    compared = comparison.condition(wanted, sql.SQL("{}::{}").format(left, cast), cast)
    try:
        await _scalar(conn, sql.SQL("select {}").format(compared))
    except psycopg.OperationalError:
        raise
    except psycopg.errors.InvalidRegularExpression as error:
        raise psycopg.errors.RaiseException(
            f"invalid regular expression for {wanted.operator} filter: {_message(error)}"
        ) from error
    except psycopg.Error as error:
        raise psycopg.errors.RaiseException(
            f"operator {wanted.operator} is not supported on column {wanted.column} "
            f"of type {cast.as_string()}: {_message(error)}"
        ) from error


async def _scalar(conn: Connection, query: sql.Composed) -> Any:
    cursor = await conn.execute(query)
    row = await cursor.fetchone()
    return row[0] if row else None


def _message(error: psycopg.Error) -> str:
    return error.diag.message_primary or str(error)


def _printed(error: psycopg.Error) -> str:
    """Format an error as the real server's database driver does."""
    name = type(error).__name__
    condition = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    return f"ERROR {error.sqlstate} ({condition}) {_message(error)}"
