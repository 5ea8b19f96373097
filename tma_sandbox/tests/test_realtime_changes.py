"""Postgres Changes beyond the recordings: what arrives, for whom, and what is dropped."""

import random
import re
from datetime import UTC, datetime
from itertools import chain, repeat

import psycopg
import pytest
from realtime_kit import (
    TMA_EVENTS,
    connected,
    eventually,
    execute,
    looked_at,
    on_tma_events,
    serving,
    token,
)

from tma_sandbox.realtime import Delays, Limits, visibility
from tma_sandbox.realtime.event_rate import EventRate
from tma_sandbox.realtime.pgoutput import Relation
from tma_sandbox.realtime.wal import RowChange

NO_TABLES = """
    do $$
    declare
        found regclass;
    begin
        for found in
            select oid from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'
        loop
            execute format('drop table %s cascade', found);
        end loop;
    end $$
"""
INSERT = "insert into tma_events (telegram_id, event_type) values ({}, 'x')"


@pytest.fixture(scope="module")
def database(postgres):
    """One database for all tests; each creates its own tables."""
    yield postgres.create_database("realtime_changes")
    postgres.drop_database("realtime_changes")


@pytest.fixture
async def dsn(database):
    """The database with the recordings' table, empty."""
    await execute(database, NO_TABLES)
    await execute(database, TMA_EVENTS)
    return database


@pytest.fixture
async def running(postgres, dsn):
    """A server over this database."""
    async with serving(postgres, dsn) as server:
        yield server


async def subscribed(client, *bindings, topic="tma", ref="1", **config):
    """Join with these bindings and wait until they are served."""
    reply = await client.join(topic, ref=ref, postgres_changes=list(bindings), **config)
    system = await client.next("system")
    assert system["payload"]["status"] == "ok", system
    return [binding["id"] for binding in reply["response"]["postgres_changes"]]


async def changes(client, count):
    """The data of the next changes."""
    frames = [await client.next("postgres_changes") for _ in range(count)]
    return [frame["payload"]["data"] for frame in frames]


def published(statement, name="t"):
    """Statements that create a published table."""
    return (
        f"create table {name} ({statement}); alter publication supabase_realtime add table {name}"
    )


# When a change is seen


async def test_the_first_subscriber_misses_what_came_before_the_reader_started(postgres, dsn):
    """On a cold server, rows between the reply and the system message are lost."""
    async with (
        serving(postgres, dsn, delays=Delays(cold=(2, 2))) as running,
        connected(running) as client,
    ):
        await client.join(postgres_changes=[on_tma_events()])
        await eventually(lambda: running.realtime._changes.is_reading)
        await execute(dsn, INSERT.format(1))
        await looked_at(running)
        await client.next("system")
        await execute(dsn, INSERT.format(2))
        [first] = await changes(client, 1)

    assert first["record"]["telegram_id"] == 2


class OnceQuick(random.Random):
    """Picks the shortest wait once, and the longest from then on."""

    def __init__(self):
        super().__init__()
        self._ends = chain([min], repeat(max))

    def uniform(self, a, b):
        return next(self._ends)(a, b)


async def test_the_next_subscriber_waits_for_nothing(postgres, dsn):
    """A warm server has no cold start's delay, which would be an hour here."""
    async with (
        serving(postgres, dsn, delays=Delays(cold=(0, 3600)), rand=OnceQuick()) as running,
        connected(running) as first,
        connected(running) as second,
    ):
        await subscribed(first, on_tma_events())
        await subscribed(second, on_tma_events())


async def test_the_slot_goes_with_its_last_subscriber_and_comes_back(postgres, dsn):
    """Without subscribers for a while the slot is dropped; the next subscriber gets a new one."""
    slots = "select count(*) from pg_replication_slots where database = current_database()"

    with psycopg.connect(dsn, autocommit=True) as conn:

        def count():
            return conn.execute(slots).fetchone()[0]

        async with serving(postgres, dsn, delays=Delays(cold=(0, 0), idle=0.1)) as running:
            assert count() == 0
            async with connected(running) as client:
                await subscribed(client, on_tma_events())
                assert count() == 1
            await eventually(lambda: count() == 0)
            async with connected(running) as client:
                await subscribed(client, on_tma_events())
                await execute(dsn, INSERT.format(1))
                await changes(client, 1)
        assert count() == 0


async def test_a_thousand_rows_arrive_in_order(running, dsn):
    """The rows of one statement arrive one by one, none lost and none twice."""
    async with connected(running) as client:
        await subscribed(client, on_tma_events(select=["id"]))
        await execute(
            dsn,
            "insert into tma_events (telegram_id, event_type)"
            " select n, 'bulk' from generate_series(1, 1000) n",
        )
        found = await changes(client, 1000)

    assert [data["record"]["id"] for data in found] == list(range(1, 1001))


async def test_a_huge_transaction_is_silence(postgres, dsn):
    """As on a real server, a statement of 10,000 rows is dropped; what follows arrives."""
    async with (
        serving(postgres, dsn, limits=Limits(transaction_rows=10)) as running,
        connected(running) as client,
    ):
        await subscribed(client, on_tma_events())
        await execute(
            dsn,
            "insert into tma_events (telegram_id, event_type)"
            " select n, 'bulk' from generate_series(1, 11) n",
            INSERT.format(99),
        )
        [first] = await changes(client, 1)

    assert first["record"]["telegram_id"] == 99


async def test_too_many_events_are_dropped_without_a_word(postgres, dsn):
    """Above the plan's rate nothing is delivered until the average of a minute is low again."""
    now = 1000.0
    limits = Limits(events_per_second=0.01)
    async with (
        serving(postgres, dsn, limits=limits, clock=lambda: now) as running,
        connected(running) as client,
    ):
        await subscribed(client, on_tma_events())
        await execute(dsn, INSERT.format(1))
        await changes(client, 1)
        await execute(dsn, INSERT.format(2))
        await looked_at(running)
        now += 61
        await execute(dsn, INSERT.format(3))
        [after] = await changes(client, 1)

    assert after["record"]["telegram_id"] == 3


def test_the_rate_is_an_average_over_the_last_minute():
    """A burst passes until the average of a minute is over the limit."""
    now = 0.0
    rate = EventRate(2, lambda: now)

    rate.count(120)
    assert not rate.exceeded
    now = 59.0
    rate.count(1)
    assert rate.exceeded
    now = 60.0
    assert not rate.exceeded


async def test_a_deaf_server_answers_everything_and_delivers_nothing(running, dsn):
    """While changes are paused, joins and heartbeats are answered, and changes are lost."""
    async with connected(running) as client:
        await subscribed(client, on_tma_events())
        running.realtime.pause_changes()
        await execute(dsn, INSERT.format(1))
        await looked_at(running)
        await client.heartbeat()
        await subscribed(client, on_tma_events(), topic="another", ref="2")
        running.realtime.pause_changes(paused=False)
        await execute(dsn, INSERT.format(2))
        [first] = await changes(client, 1)

    assert first["record"]["telegram_id"] == 2


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


# Who gets it


async def test_a_frame_names_all_bindings_of_a_channel_that_it_serves(running, dsn):
    """Bindings of one channel with the same columns share a frame."""
    async with connected(running) as client:
        first, second, narrow, same, other = await subscribed(
            client,
            on_tma_events("*"),
            on_tma_events("INSERT"),
            on_tma_events("INSERT", select=["status", "lead_id"]),
            on_tma_events("*", select=["lead_id", "status"]),
            on_tma_events("DELETE"),
        )
        await execute(dsn, INSERT.format(1))
        frames = [await client.next("postgres_changes") for _ in range(2)]
        await client.heartbeat()

    assert len({first, second, narrow, same, other}) == 5
    assert [frame["payload"]["ids"] for frame in frames] == [[second, first], [same, narrow]]
    assert frames[1]["payload"]["data"]["record"] == {
        "id": 1,
        "status": "pending",
        "lead_id": None,
    }
    assert client.unread("postgres_changes") == []


async def test_channels_and_sockets_are_served_apart(running, dsn):
    """Each channel of each socket gets its own frame, and none after it has left."""
    async with connected(running) as one, connected(running) as two:
        await subscribed(one, on_tma_events(), topic="a", ref="1")
        await subscribed(one, on_tma_events(), topic="b", ref="2")
        await subscribed(two, on_tma_events(), topic="a", ref="1")
        await one.send(
            {
                "topic": "realtime:b",
                "event": "phx_leave",
                "payload": {},
                "ref": "3",
                "join_ref": "2",
            }
        )
        await one.next("phx_close")
        await execute(dsn, INSERT.format(1))
        topics = [(await client.next("postgres_changes"))["topic"] for client in (one, two)]
        await one.heartbeat()

    assert topics == ["realtime:a", "realtime:a"]
    assert one.unread("postgres_changes") == []


FILTERS = {
    "telegram_id=eq.5": [5],
    "telegram_id=neq.5": [4, 6],
    "telegram_id=lt.5": [4],
    "telegram_id=lte.5": [4, 5],
    "telegram_id=gt.5": [6],
    "telegram_id=gte.5": [5, 6],
    "telegram_id=in.(4,6)": [4, 6],
    "telegram_id=not.in.(4,6)": [5],
    "telegram_id=gt.4,event_type=neq.e6": [5],
    "event_type=like.%5": [5],
    "event_type=ilike.E5": [5],
    "event_type=match.^e[45]$": [4, 5],
    "event_type=not.imatch.^E[45]$": [6],
    "lead_id=is.null": [4, 6],
    "lead_id=not.is.null": [5],
    "lead_id=isdistinct.9": [4, 6],
    "lead_id=neq.1": [5],  # NULL compares to nothing
    'event_type=eq."e5"': [5],
    "": [4, 5, 6],
}


async def test_filters_let_pass_what_they_say(running, dsn):
    """Every operator, negated and combined, on real values."""
    async with connected(running) as client:
        ids = await subscribed(
            client,
            *(on_tma_events(filter=text) if text else on_tma_events() for text in FILTERS),
        )
        await execute(
            dsn,
            "insert into tma_events (telegram_id, event_type, lead_id)"
            " values (4, 'e4', null), (5, 'e5', 9), (6, 'e6', null)",
        )
        frames = [await client.next("postgres_changes") for _ in range(3)]

    passed = {
        text: [
            frame["payload"]["data"]["record"]["telegram_id"]
            for frame in frames
            if id_ in frame["payload"]["ids"]
        ]
        for text, id_ in zip(FILTERS, ids, strict=True)
    }
    assert passed == FILTERS


async def test_a_deleted_row_is_filtered_by_what_is_known_of_it(running, dsn):
    """By default only the key is known, so a filter on anything else matches no deletion."""
    async with connected(running) as client:
        by_key, _by_status = await subscribed(
            client,
            on_tma_events("DELETE", filter="id=eq.2"),
            on_tma_events("DELETE", filter="status=eq.pending"),
        )
        await execute(dsn, INSERT.format(1), INSERT.format(2), "delete from tma_events")
        frame = await client.next("postgres_changes")
        await looked_at(running)
        await client.heartbeat()

    assert frame["payload"]["ids"] == [by_key]
    assert frame["payload"]["data"]["old_record"] == {"id": 2}
    assert client.unread("postgres_changes") == []


@pytest.mark.parametrize(
    ("binding", "text"),
    [
        ({"event": "INSERT"}, 'subscribe to: %{"event" => "INSERT"}'),
        ({"schema": "public", "filter": "id=eq.1"}, "No subscription params provided."),
        (on_tma_events(filter="id=in.1"), "`in` filter value must be wrapped by parentheses"),
        (on_tma_events(filter="id=eq.1,"), "filter must not contain empty segments"),
        (on_tma_events(select="id"), "Error parsing `select` params: expected a list"),
        ({"schema": "public", "table": "*", "select": ["id"]}, "not supported for wildcard"),
        (on_tma_events(filter="id=is.maybe"), "invalid value for is filter"),
        (on_tma_events(filter="id=like.5"), "operator like is not supported on column id of type"),
        (on_tma_events(filter="event_type=match.("), "invalid regular expression for match filter"),
        (
            on_tma_events(filter=f"id=in.({','.join(map(str, range(101)))})"),
            "too many values for `in` filter. Maximum 100",
        ),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
async def test_a_binding_that_makes_no_sense_is_refused_in_words(running, binding, text):
    """The join succeeds, and then a system message says what is wrong."""
    async with connected(running) as client:
        reply = await client.join(postgres_changes=[binding])
        system = await client.next("system")

    assert reply["status"] == "ok"
    assert system["payload"]["status"] == "error"
    assert text in system["payload"]["message"]
    assert running.realtime.subscribers == 0


async def test_row_level_security_is_asked_in_the_subscribers_name(running, dsn):
    """Two users of one role see their own rows, according to their tokens' claims."""
    await execute(
        dsn,
        published("id int primary key, owner uuid"),
        "alter table t enable row level security",
        "create policy own on t for select to authenticated using (owner = auth.uid())",
    )
    users = [f"6f1c1b6e-3d7a-4d55-8a7e-0d5d3f9f000{n}" for n in (1, 2)]
    binding = {"event": "*", "schema": "public", "table": "t"}

    async with connected(running) as one, connected(running) as two:
        for client, user in ((one, users[0]), (two, users[1])):
            await subscribed(client, binding, access_token=token("authenticated", sub=user))
        await execute(dsn, f"insert into t values (1, '{users[0]}'), (2, '{users[1]}')")
        [[first], [second]] = [await changes(client, 1) for client in (one, two)]

    assert [first["record"]["id"], second["record"]["id"]] == [1, 2]


async def test_a_policy_that_fails_hides_the_row_from_that_subscriber_only(running, dsn):
    """Its subscriber gets an error without the row; others get the row."""
    await execute(
        dsn,
        published("id int primary key"),
        "alter table t enable row level security",
        "create policy broken on t for select to authenticated"
        " using ((auth.jwt() ->> 'number')::int = 1)",
    )
    binding = {"event": "*", "schema": "public", "table": "t"}
    tokens = [
        token("authenticated", number="one"),
        token("authenticated", number="1"),
        token("service_role"),
    ]

    async with connected(running) as broken, connected(running) as good, connected(running) as root:
        for client, signed in zip((broken, good, root), tokens, strict=True):
            await subscribed(client, binding, access_token=signed)
        await execute(dsn, "insert into t values (1)")
        [[error], [seen], [served]] = [await changes(c, 1) for c in (broken, good, root)]

    assert error["errors"] == ["Error 500: Internal Server Error, RLS policy evaluation failed"]
    assert (error["record"], error["columns"], error["commit_timestamp"]) == ({}, [], None)
    assert seen["record"] == served["record"] == {"id": 1}


async def test_a_table_without_a_key_is_an_error(running, dsn):
    """Without a primary key row level security cannot be checked."""
    await execute(
        dsn,
        published("id int"),
        "alter table t replica identity full",
    )

    async with connected(running) as client:
        await subscribed(client, {"event": "*", "schema": "public", "table": "t"})
        await execute(dsn, "insert into t values (1)")
        [data] = await changes(client, 1)

    assert data["errors"] == ["Error 400: Bad Request, no primary key"]
    assert data["record"] == {}


async def test_a_guarded_key_of_two_columns_is_looked_up_whole(running, dsn):
    """Row level security looks the row up by all columns of its key."""
    await execute(
        dsn,
        published("a int, b text, primary key (a, b)"),
        "alter table t enable row level security",
        "create policy even on t for select to anon using (b <> 'hidden')",
    )

    async with connected(running, token("anon")) as client:
        await subscribed(client, {"event": "*", "schema": "public", "table": "t"})
        await execute(dsn, "insert into t values (1, 'hidden'), (1, 'shown')")
        [data] = await changes(client, 1)

    assert data["record"] == {"a": 1, "b": "shown"}


async def test_a_table_made_later_is_seen_by_who_asked_for_everything(running, dsn):
    """A newly published table is part of `*` at once; a dropped one does no harm."""
    async with connected(running) as client:
        await subscribed(client, {"event": "*", "schema": "public"})
        await execute(
            dsn,
            published("id int primary key", "gone") + "; insert into gone values (1)",
            "drop table gone",
            published("id int primary key"),
            "insert into t values (1)",
        )
        frame = await client.next(
            lambda f: f["event"] == "postgres_changes" and f["payload"]["data"]["table"] == "t"
        )

    assert frame["payload"]["data"]["record"] == {"id": 1}
