"""When a change arrives, and when it is lost or dropped."""

import random
from itertools import chain, repeat

import psycopg
from changes_kit import INSERT, changes, subscribed
from realtime_kit import (
    connected,
    eventually,
    execute,
    looked_at,
    on_tma_events,
    serving,
)

from tma_sandbox.realtime import Delays, Limits
from tma_sandbox.realtime.event_rate import EventRate

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
