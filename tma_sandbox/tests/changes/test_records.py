"""What a change contains."""

import re
from datetime import UTC, datetime

import psycopg
from changes_kit import changes, published, subscribed
from realtime_kit import (
    connected,
    execute,
    looked_at,
    on_tma_events,
)

from tma_sandbox.realtime import visibility
from tma_sandbox.realtime.pgoutput import Relation
from tma_sandbox.realtime.wal import RowChange

# What a change says


TYPES = {
    "bool": "true",
    "int2": "-7",
    "int8": "9007199254740993",
    "float8": "0.1",
    "numeric": "12345678901234567890.12300",
    "text": """E'quote " backslash \\ newline \n é 😀'""",
    "varchar(5)": "'five5'",
    "bytea": "'\\x00ff'",
    "json": """'{"b":1, "a":[true,null]}'""",
    "jsonb": """'{"b":1, "a":[true,null]}'""",
    "uuid": "'6f1c1b6e-3d7a-4d55-8a7e-0d5d3f9f0001'",
    "date": "'2026-11-23'",
    "timestamp": "'2026-11-23 04:05:06.7'",
    "timestamptz": "'2026-11-23 04:05:06.789+02'",
    "interval": "'1 day 2 hours'",
    "int4[]": "'{1,null,3}'",
    "text[]": """'{"a,b",null,"c\\"d"}'""",
    "point": "'(1,2)'",
    "inet": "'10.0.0.1/8'",
    "tstzrange": "'[2026-01-01,2026-02-01)'",
}


async def test_every_type_prints_as_postgres_prints_it(running, dsn):
    """A record is the row as jsonb, character for character."""
    columns = ", ".join(f"c{at} {kind}" for at, kind in enumerate(TYPES))
    await execute(dsn, published(f"id int primary key, {columns}"))

    async with connected(running) as client:
        await subscribed(client, {"event": "*", "schema": "public", "table": "t"})
        await execute(dsn, f"insert into t values (1, {', '.join(TYPES.values())})")
        [data] = await changes(client, 1)
        raw = client.raw[-1]
    with psycopg.connect(dsn) as conn:
        [own] = conn.execute("select to_jsonb(t)::text from t").fetchone()

    assert re.search(r'"record":(.*),"columns":', raw)[1] == own
    names = [column["type"] for column in data["columns"]]
    assert names[:3] == ["int4", "bool", "int2"]
    assert names[-5:] == ["_int4", "_text", "point", "inet", "tstzrange"]


async def test_a_table_wider_than_a_function_call_arrives_whole(running, dsn):
    """A table can have more columns than a Postgres function takes arguments."""
    columns = ", ".join(f"c{n} int" for n in range(150))
    await execute(dsn, published(f"id int primary key, {columns}"))

    async with connected(running) as client:
        await subscribed(client, {"event": "*", "schema": "public", "table": "t"})
        await execute(dsn, f"insert into t values (1, {', '.join(map(str, range(150)))})")
        [data] = await changes(client, 1)

    assert data["record"] == {"id": 1, **{f"c{n}": n for n in range(150)}}


async def test_strange_names_are_only_names(running, dsn):
    """Quotes, percent signs and capitals in names reach the client unchanged."""
    await execute(
        dsn,
        published('"Id %s" int primary key, "a\'b" text, "select" text', '"My ""Table"""'),
    )

    async with connected(running) as client:
        await subscribed(
            client, {"event": "*", "schema": "public", "table": 'My "Table"', "filter": "a'b=eq.x"}
        )
        await execute(dsn, """insert into "My ""Table\""" values (1, 'x', '%s {}')""")
        [data] = await changes(client, 1)

    assert data["table"] == 'My "Table"'
    assert data["record"] == {"Id %s": 1, "a'b": "x", "select": "%s {}"}


async def test_a_row_over_a_megabyte_keeps_its_small_columns(running, dsn):
    """A row that is too large arrives as an error with its short columns."""
    large = "repeat('x', {} * 1024)"
    insert = "insert into tma_events (telegram_id, event_type, payload) values ({}, 'big', {})"

    async with connected(running) as client:
        await subscribed(client, on_tma_events())
        for kilobytes in (1000, 1024):
            blob = f"jsonb_build_object('blob', {large.format(kilobytes)})"
            await execute(dsn, insert.format(kilobytes, blob))
        fits, too_large = await changes(client, 2)

    assert (fits["errors"], len(fits["record"]["payload"]["blob"])) == (None, 1000 * 1024)
    assert too_large["errors"] == ["Error 413: Payload Too Large"]
    assert too_large["record"] == {
        "id": 2,
        "status": "pending",
        "created_at": too_large["record"]["created_at"],
        "event_type": "big",
        "telegram_id": 1024,
    }
    assert [column["name"] for column in too_large["columns"]] == [
        column["name"] for column in fits["columns"]
    ]


async def test_a_full_identity_shows_the_former_row_unless_policies_guard_it(running, dsn):
    """`replica identity full` adds the old row; of a deleted row under RLS only the key."""
    await execute(
        dsn,
        published("id int primary key, note text"),
        published("id int primary key, note text", "guarded"),
        "alter table t replica identity full",
        "alter table guarded replica identity full",
        "alter table guarded enable row level security",
    )

    async with connected(running) as client:
        await subscribed(client, {"event": "*", "schema": "public"})
        for table in ("t", "guarded"):
            await execute(
                dsn,
                f"insert into {table} values (1, 'a')",
                f"update {table} set note = 'b'",
            )
            await looked_at(running)
            await execute(dsn, f"delete from {table}")
        _, open_update, open_delete, _, update, delete = await changes(client, 6)

    assert open_update["old_record"] == update["old_record"] == {"id": 1, "note": "a"}
    assert open_delete["old_record"] == {"id": 1, "note": "b"}
    assert delete["old_record"] == {"id": 1}
    assert "record" not in delete


async def test_a_large_value_left_alone_is_left_out(running, dsn):
    """A large value that an update did not change is neither in the log nor in the record."""
    await execute(
        dsn,
        published("id int primary key, note text, large text"),
        "alter table t alter large set storage external",
    )

    async with connected(running) as client:
        await subscribed(client, {"event": "UPDATE", "schema": "public", "table": "t"})
        await execute(
            dsn, "insert into t values (1, 'a', repeat('x', 9000))", "update t set note = 'b'"
        )
        [data] = await changes(client, 1)

    assert data["record"] == {"id": 1, "note": "b"}


def test_a_commits_time_is_told_in_milliseconds():
    """Truncated, not rounded, with trailing zeros."""
    relation = Relation(1, "public", "t", "d", ())
    at = datetime(2026, 11, 23, 4, 5, 6, 7999, tzinfo=UTC)

    told = visibility._milliseconds(RowChange(relation, "INSERT", at, {}, {}))

    assert told == "2026-11-23T04:05:06.007Z"
