"""Outages of Postgres: clients stay joined and are served again."""

import asyncio

import psycopg
import pytest
from realtime_kit import (
    PATIENCE,
    Running,
    connected,
    execute,
    on_tma_events,
    serving,
    token,
)

INSERT = "insert into tma_events (telegram_id, event_type) values (1, 'x')"
RING = "select realtime.send('{}', 'rows', 'bell', true)"
OURS = """
    select count(*) from pg_stat_activity
    where application_name like 'realtime%' and datname = current_database()
"""


async def both(client):
    """Join one private channel with both bells, as the bridge does, and wait until both ring."""
    await client.join("bell", private=True, postgres_changes=[on_tma_events()])
    await client.next("system")


async def rings_again(client, dsn):
    """Insert and broadcast until both arrive; those during the outage are lost."""
    heard = set()
    async with asyncio.timeout(PATIENCE):
        while heard != {"postgres_changes", "broadcast"}:
            await execute(dsn, INSERT, RING)
            try:
                async with asyncio.timeout(0.2):
                    heard.add((await client.receive())["event"])
            except TimeoutError:
                continue


async def test_a_restarted_postgres_is_found_again(own_postgres, dsn):
    """Without a frame to the client, which stays joined and gets new changes."""
    async with serving(own_postgres, dsn) as running, connected(running) as client:
        await both(client)
        own_postgres.restart("immediate")
        await client.heartbeat()
        await rings_again(client, dsn)

    assert client.unread("phx_close") == client.unread("system") == []


async def test_killed_sessions_are_opened_again(own_postgres, dsn):
    """Including the slot's own session; a new slot replaces it."""
    async with serving(own_postgres, dsn) as running, connected(running) as client:
        await both(client)
        with psycopg.connect(own_postgres.dsn("realtime_alone", "supabase_admin")) as admin:
            admin.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where application_name like 'realtime%'"
            )
        await rings_again(client, dsn)


async def test_a_join_while_postgres_is_away_is_served_when_it_is_back(own_postgres, dsn):
    """A public join is answered at once and served later; a private one is refused."""
    async with serving(own_postgres, dsn) as running, connected(running) as client:
        own_postgres.pause("immediate")
        try:
            public = await client.join("tma", postgres_changes=[on_tma_events()])
            private = await client.join("bell", ref="2", private=True)
        finally:
            own_postgres.restart()
        system = await client.next("system")
        await execute(dsn, INSERT)
        change = await client.next("postgres_changes")

    assert public["status"] == "ok"
    assert private["response"] == {
        "reason": "UnableToConnectToProject: Realtime was unable to connect to the project database"
    }
    assert system["payload"]["status"] == "ok"
    assert change["topic"] == "realtime:tma"


async def test_refreshing_and_writing_while_postgres_is_away(own_postgres, dsn):
    """Policies cannot be checked: a refresh closes the channel, a broadcast is dropped."""
    async with serving(own_postgres, dsn) as running, connected(running) as client:
        await client.join("bell", private=True, broadcast={"ack": True})
        own_postgres.pause("immediate")
        try:
            for ref, event, payload in (
                ("2", "broadcast", {"event": "x"}),
                ("3", "access_token", {"access_token": token(jti="another")}),
            ):
                await client.send(
                    {"topic": "realtime:bell", "event": event, "payload": payload, "ref": ref}
                )
            system = await client.next("system")
            await client.next("phx_close")
        finally:
            own_postgres.restart()

    assert system["payload"]["message"] == "Realtime was unable to connect to the project database"
    assert client.unread("phx_reply") == []


async def test_it_does_not_start_without_a_database(own_postgres, dsn):
    """The start fails at once."""
    own_postgres.pause()
    try:
        with pytest.raises(psycopg.OperationalError):
            async with serving(own_postgres, dsn):
                pass
    finally:
        own_postgres.restart()


async def test_a_stopped_server_leaves_nothing_in_the_database(own_postgres, dsn):
    """No session and no slot: the database can be dropped at once."""
    async with serving(own_postgres, dsn) as running, connected(running) as client:
        await both(client)
        with psycopg.connect(dsn) as conn:
            during = conn.execute(OURS).fetchone()
    with psycopg.connect(dsn) as conn:
        slots = conn.execute("select count(*) from pg_replication_slots").fetchone()

    assert during == (4,)
    assert slots == (0,)
    own_postgres.drop_database("realtime_alone")


async def test_it_stops_in_time_while_postgres_is_away(own_postgres, dsn):
    """It does not wait for a database that does not answer."""
    async with serving(own_postgres, dsn) as running, connected(running) as client:
        await both(client)
        own_postgres.pause("immediate")
        try:
            async with asyncio.timeout(4):
                await running.realtime.stop()
        finally:
            own_postgres.restart()

    assert isinstance(running, Running)
