"""Published tables as the catalog describes them: columns, key, and who may read what."""

from collections.abc import Collection
from dataclasses import dataclass

from psycopg import sql

from tma_sandbox.realtime.database import Connection


@dataclass(frozen=True, slots=True)
class TableColumn:
    """One column. `type_name` is the name that clients see (int8), `cast` the name for SQL."""

    name: str
    type_name: str
    cast: str
    key: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it is now. `readable` has the columns that each role may select."""

    schema: str
    name: str
    rls: bool
    columns: tuple[TableColumn, ...]
    readable: dict[str, frozenset[str]]

    @property
    def identifier(self) -> sql.Identifier:
        """The table's name for a statement."""
        return sql.Identifier(self.schema, self.name)

    @property
    def key(self) -> tuple[str, ...]:
        """The primary key's columns."""
        return tuple([column.name for column in self.columns if column.key])

    def cast(self, column: str) -> sql.SQL:
        """The type of a column, as Postgres writes it."""
        [found] = [c for c in self.columns if c.name == column]
        return sql.SQL(found.cast)


async def published(conn: Connection, publication: str) -> list[tuple[str, str]]:
    """List the (schema, table) pairs of a publication."""
    cursor = await conn.execute(
        "select schemaname, tablename from pg_publication_tables where pubname = %s order by 1, 2",
        (publication,),
    )
    return await cursor.fetchall()


async def look_up(conn: Connection, schema: str, name: str, roles: Collection[str]) -> Table | None:
    """Describe a table; None if it is gone. A role that does not exist may read nothing."""
    cursor = await conn.execute(
        """
        select c.relrowsecurity, a.attname, t.typname, a.atttypid::regtype::text,
               a.attnum = any(coalesce(pk.conkey, '{}')),
               array(select r.rolname::text from pg_roles r
                     where r.rolname = any(%(roles)s)
                       and has_column_privilege(r.oid, c.oid, a.attnum, 'SELECT'))
        from pg_class c
            join pg_namespace n on n.oid = c.relnamespace
            join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
            join pg_type t on t.oid = a.atttypid
            left join pg_constraint pk on pk.conrelid = c.oid and pk.contype = 'p'
        where n.nspname = %(schema)s and c.relname = %(name)s
        order by a.attnum
        """,
        {"schema": schema, "name": name, "roles": list(roles)},
    )
    rows = await cursor.fetchall()
    if not rows:
        return None
    return Table(
        schema,
        name,
        rls=rows[0][0],
        columns=tuple([TableColumn(*row[1:5]) for row in rows]),
        readable={role: frozenset(row[1] for row in rows if role in row[5]) for role in roles},
    )
