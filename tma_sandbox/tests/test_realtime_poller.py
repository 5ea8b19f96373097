"""The poller of changes: it gives up in a long outage, and takes in a limited number of changes.

As measured on a real server (2.129.8), see each test; recordings: h_pg_stop120 and
h_pg_stop120_setauth. Whether another client's join revives a deaf channel is not recorded. Here it
does not, which is the worse case.
"""

import asyncio
import time
from dataclasses import replace

import psycopg
import pytest
from realtime_kit import (
    FAST,
    PATIENCE,
    connected,
    eventually,
    execute,
    looked_at,
    on_tma_events,
    serving,
    token,
)

from tma_sandbox.realtime import Delays, Limits
from tma_sandbox.realtime.poll_schedule import PollResult, PollSchedule

INSERT = "insert into tma_events (telegram_id, event_type) values ({}, 'x')"
RING = "select realtime.send('{}', 'rows', 'bell', true)"
FLOOD = "update tma_events set status = 'done'"  # of 400 rows; nobody wants an UPDATE
ROWS = """
    insert into tma_events (telegram_id, event_type) select n, 'x' from generate_series(1, 400) n
"""
# What an operator would ask; the slot is a real one.
LAG = """
    select pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn) from pg_replication_slots
    where database = current_database()
"""


async def subscribed(client, topic="bell", ref="1"):
    """Join one private channel with both bells, as the bridge does, and wait until both ring."""
    await client.join(topic, ref=ref, private=True, postgres_changes=[on_tma_events()])
    await client.next("system")


async def heard(client):
    """The telegram_id of the next change."""
    frame = await client.next("postgres_changes")
    return frame["payload"]["data"]["record"]["telegram_id"]


async def hears_again(client, dsn):
    """Insert until a change arrives; those before the reader is back are lost."""
    async with asyncio.timeout(PATIENCE):
        while not client.unread("postgres_changes"):
            await execute(dsn, INSERT.format(7))
            await asyncio.sleep(0.1)
            await client.heartbeat()
    while client.unread("postgres_changes"):
        await client.next("postgres_changes")


def access_token(value):
    """Send a token on the joined channel."""
    payload = {"access_token": value}
    return {"topic": "realtime:bell", "event": "access_token", "payload": payload, "ref": "9"}


def impatient(seconds=0.2, **options):
    """A server whose poller gives up soon."""
    return {"delays": replace(Delays.none(), gives_up=(seconds, seconds)), **options}


# An outage of the database


async def test_a_long_outage_leaves_the_channel_joined_and_deaf(own_postgres, dsn):
    """h_pg_stop120: 201 rows lost after the database was back, while heartbeats were answered.

    A client that joins afterwards gets everything: only the channel is deaf, not the server.
    """
    async with (
        serving(own_postgres, dsn, **impatient()) as running,
        connected(running) as deaf,
        connected(running) as fresh,
    ):
        await subscribed(deaf)
        own_postgres.pause("immediate")
        try:
            await eventually(lambda: running.realtime.subscribers == 0)
        finally:
            own_postgres.restart()
        await fresh.join(postgres_changes=[on_tma_events()])
        await fresh.next("system")
        await execute(dsn, INSERT.format(1))
        first = await heard(fresh)
        await deaf.heartbeat()

    assert first == 1
    assert [deaf.unread(kind) for kind in ("postgres_changes", "system", "phx_close")] == [[]] * 3


async def test_a_short_outage_is_survived(own_postgres, dsn):
    """h_pg_stop20: after 20 s without the database the channel gets changes again."""
    async with (
        serving(own_postgres, dsn, **impatient(seconds=60)) as running,
        connected(running) as client,
    ):
        await subscribed(client)
        own_postgres.restart("immediate")
        await hears_again(client, dsn)

    assert client.unread("system") == client.unread("phx_close") == []


async def test_patience_begins_anew_with_each_outage(own_postgres, dsn):
    """Only consecutive failures count: two short outages are not a long one."""
    now = 1000.0
    async with (
        serving(own_postgres, dsn, **impatient(seconds=80, clock=lambda: now)) as running,
        connected(running) as client,
    ):
        await subscribed(client)
        for _ in range(2):
            own_postgres.restart("immediate")
            await hears_again(client, dsn)
            now += 81


async def test_a_join_that_waits_is_served_after_however_long(own_postgres, dsn):
    """A client that is not served yet keeps trying, and so starts a new poller."""
    async with serving(own_postgres, dsn, **impatient()) as running, connected(running) as client:
        own_postgres.pause("immediate")
        try:
            await client.join(postgres_changes=[on_tma_events()])
            await asyncio.sleep(0.5)  # longer than the poller's patience
        finally:
            own_postgres.restart()
        await client.next("system")
        await execute(dsn, INSERT.format(1))

        assert await heard(client) == 1


async def test_broadcasts_come_back_later_than_the_database(own_postgres, dsn):
    """Measured: 17 s, once 111 s after the database; broadcasts until then are lost."""
    delays = replace(Delays.none(), broadcasts_back=(3600, 3600))
    async with serving(own_postgres, dsn, delays=delays) as running, connected(running) as client:
        await subscribed(client)
        own_postgres.restart("immediate")
        await hears_again(client, dsn)
        await execute(dsn, RING, INSERT.format(1))
        await heard(client)

    assert client.unread("broadcast") == []


# The poller's death by itself


@pytest.fixture
async def running(own_postgres, dsn):
    """A server without delays, over a database that stays up."""
    async with serving(own_postgres, dsn) as server:
        yield server


async def test_a_join_of_ones_own_hears_again(running, dsn):
    """h_probe_after_pg_stop120_a: changes after the join arrive; those before are lost."""
    async with connected(running) as client:
        await subscribed(client)
        await running.realtime.give_up_changes()
        await execute(dsn, INSERT.format(1))
        await subscribed(client, ref="2")
        await execute(dsn, INSERT.format(2))

        assert await heard(client) == 2


async def test_another_token_hears_again(running, dsn):
    """h_pg_stop120_setauth: "Subscribed to PostgreSQL" once more, and the changes after it."""
    async with connected(running) as client:
        await subscribed(client)
        await running.realtime.give_up_changes()
        await client.send(access_token(token(jti="another")))
        system = await client.next("system")
        await execute(dsn, INSERT.format(1))

        assert system["payload"]["message"] == "Subscribed to PostgreSQL"
        assert await heard(client) == 1


async def test_the_same_token_changes_nothing(running, dsn):
    """A token that the server already has is ignored, so the channel stays deaf."""
    same = token()
    async with connected(running, key=same) as client, connected(running) as other:
        await subscribed(client)
        await running.realtime.give_up_changes()
        await client.send(access_token(same))
        await client.heartbeat()
        await subscribed(other)
        await execute(dsn, INSERT.format(1))
        await heard(other)
        await client.heartbeat()

    assert client.unread("system") == client.unread("postgres_changes") == []


async def test_broadcasts_survive_the_poller(running, dsn):
    """Changes and broadcasts have separate readers: one can give up without the other."""
    async with connected(running) as client:
        await subscribed(client)
        await running.realtime.give_up_changes()
        await execute(dsn, RING)

        assert (await client.next("broadcast"))["payload"]["event"] == "rows"


# Throughput


def test_the_pace_counts_what_nobody_wanted():
    """A real server takes 100 changes, and polls again after 150 to 200 ms if nobody wants any."""
    limits = Limits()
    schedule = PollSchedule(0.1, 0.5, limits.changes_per_second)

    assert 0.150 <= schedule.pause(PollResult(100, wanted=False)) <= 0.200


async def test_a_row_behind_a_flood_rings_late_and_the_slot_lags(own_postgres, dsn):
    """Measured: after a drain of 10,000 rows 9.2 MB of lag, and single rows 7 s late.

    The flood is UPDATEs that no binding asks for: 400 twice at 250 a second keep the poller busy
    for 3.2 seconds. The row behind them is not lost.
    """
    await execute(dsn, ROWS)
    limits = Limits(changes_per_second=250)
    async with (
        serving(own_postgres, dsn, limits=limits) as running,
        connected(running) as client,
        await psycopg.AsyncConnection.connect(dsn, autocommit=True) as operator,
    ):
        await subscribed(client)
        began = time.monotonic()
        for statement in (FLOOD, FLOOD, INSERT.format(-1)):
            await operator.execute(statement)
        behind = await running.realtime.lag()
        [seen] = await (await operator.execute(LAG)).fetchone()
        assert await heard(client) == -1
        waited = time.monotonic() - began
        await looked_at(running)
        after = await running.realtime.lag()

    assert waited > 3.2
    assert behind > 10_000
    assert seen > 10_000
    assert after < behind


async def test_without_a_limit_a_row_behind_a_flood_rings_at_once(own_postgres, dsn):
    """For other tests: the same flood takes the poller no time."""
    await execute(dsn, ROWS)
    limits = Limits(changes_per_second=None)
    async with (
        serving(own_postgres, dsn, limits=limits, poll=(3600, FAST[1])) as running,
        connected(running) as client,
    ):
        await subscribed(client)
        await execute(dsn, FLOOD, INSERT.format(-1))

        assert await heard(client) == -1


async def test_a_server_that_does_not_read_does_not_lag(running):
    """Without subscribers there is no slot."""
    assert await running.realtime.lag() == 0
