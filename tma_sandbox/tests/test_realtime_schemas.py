"""Bindings of a table outside `public`, which depend on schema, grants and policies.

The table is the bridge's own doorbell, which has few columns and two roles that read it. It is
recorded that any schema may be named (d_no_such_schema gets the same error as a table that is not
published), and how grants and policies work in `public` (e_*).
"""

import psycopg
import pytest
from realtime_kit import connected, execute, looked_at, token

BELLS = """
    do $$ begin
        create role tma_bridge nologin noinherit;
    exception when duplicate_object then null;
    end $$;
    create schema bridge;
    grant usage on schema bridge to service_role, tma_bridge;
    create table bridge.bells (
        id bigint generated always as identity primary key,
        table_name text not null,
        rung_at timestamptz not null default now()
    );
    revoke all on bridge.bells from public, anon, authenticated, service_role, tma_bridge;
    grant select on bridge.bells to service_role, tma_bridge;
    alter table bridge.bells enable row level security;
    create policy "the bridge hears every bell" on bridge.bells
        for select to tma_bridge using (true);
    alter publication supabase_realtime add table bridge.bells;
"""
RING = "insert into bridge.bells (table_name) values ('{}')"
BINDING = {"event": "INSERT", "schema": "bridge", "table": "bells", "select": ["table_name"]}


@pytest.fixture
def dsn(postgres):
    """A fresh database with the doorbell's table."""
    dsn = postgres.create_database("realtime_schemas")
    with psycopg.connect(dsn) as conn:
        conn.execute(BELLS)
    yield dsn
    postgres.drop_database("realtime_schemas")


async def subscribed(client, role, **config):
    """Join as this role; returns the reply's binding and the system message."""
    reply = await client.join(postgres_changes=[BINDING], access_token=token(role), **config)
    system = await client.next("system")
    return reply["response"]["postgres_changes"], system["payload"]


@pytest.mark.parametrize("role", ["service_role", "tma_bridge"])
async def test_a_bell_in_a_schema_of_its_own_rings(running, dsn, role):
    """One role bypasses row level security, the other has a policy; both get the key."""
    async with connected(running) as client:
        [binding], system = await subscribed(client, role)
        await execute(dsn, RING.format("tma_events"))
        change = await client.next("postgres_changes")

    assert (binding["schema"], binding["table"]) == ("bridge", "bells")
    assert system["status"] == "ok"
    assert change["payload"]["ids"] == [binding["id"]]
    data = change["payload"]["data"]
    assert (data["schema"], data["table"], data["type"]) == ("bridge", "bells", "INSERT")
    assert data["record"] == {"id": 1, "table_name": "tma_events"}
    assert [column["name"] for column in data["columns"]] == ["id", "table_name"]
    assert data["errors"] is None


async def test_both_bells_ring_on_one_private_channel(running, dsn):
    """As the bridge listens: a binding and broadcasts from the database."""
    async with connected(running) as client:
        await client.join("tma_bell", private=True, postgres_changes=[BINDING])
        await client.next("system")
        await execute(
            dsn,
            RING.format("tma_events"),
            """select realtime.send('{"table": "tma_events"}', 'rows', 'tma_bell', true)""",
        )
        change = await client.next("postgres_changes")
        broadcast = await client.next("broadcast")

    assert change["payload"]["data"]["record"]["table_name"] == "tma_events"
    assert broadcast["payload"]["payload"]["table"] == "tma_events"


async def test_sweeping_old_bells_rings_nothing(running, dsn):
    """The binding only asks for INSERTs, so a DELETE is not delivered."""
    async with connected(running) as client:
        await subscribed(client, "tma_bridge")
        await execute(dsn, RING.format("one"), "delete from bridge.bells", RING.format("two"))
        await looked_at(running)
        await client.heartbeat()
        frames = client.unread("postgres_changes")

    assert [frame["payload"]["data"]["type"] for frame in frames] == ["INSERT"] * len(frames)
    assert frames[-1]["payload"]["data"]["record"]["table_name"] == "two"


@pytest.mark.parametrize("role", ["anon", "authenticated"])
async def test_a_role_without_a_grant_is_told_so(running, role):
    """A column that the role may not read cannot be selected; nothing is served."""
    async with connected(running) as client:
        _, system = await subscribed(client, role)

    assert system["status"] == "error"
    assert system["message"].endswith("invalid column for select table_name")


async def test_a_role_without_a_policy_hears_nothing(running, dsn):
    """With only the grant it can subscribe, but row level security hides every row."""
    await execute(
        dsn, "grant usage on schema bridge to anon", "grant select on bridge.bells to anon"
    )
    async with connected(running) as anon, connected(running) as bridge:
        _, system = await subscribed(anon, "anon")
        await subscribed(bridge, "tma_bridge")
        await execute(dsn, RING.format("tma_events"))
        await bridge.next("postgres_changes")
        await anon.heartbeat()

    assert system["status"] == "ok"
    assert anon.unread("postgres_changes") == []


async def test_a_table_that_is_not_published_is_refused_by_its_name(running, dsn):
    """The text is the real server's, with this schema in it."""
    await execute(dsn, "alter publication supabase_realtime drop table bridge.bells")
    async with connected(running) as client:
        _, system = await subscribed(client, "tma_bridge")

    assert system == {
        "message": "Unable to subscribe to changes with given parameters. Please check Realtime is "
        "enabled for the given connect parameters: [event: INSERT, schema: bridge, table: bells, "
        'filters: [], select: ["table_name"]]',
        "status": "error",
        "extension": "postgres_changes",
        "channel": "tma",
    }
