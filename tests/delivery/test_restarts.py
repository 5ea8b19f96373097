"""PostgREST and Postgres restart under the bridge, on a stack of these tests' own."""

import asyncio

import psycopg
import pytest
import pytest_asyncio

from realtime_bridge.database import migrations_directory
from tests.integration.kit import World
from tma_sandbox.realtime import Delays
from tma_sandbox.stack import LocalStack

EVENTS, CHATS = 120, 30
SETTINGS = {
    "TELEGRAM_RATE": "1000",
    "TELEGRAM_CHAT_RATE": "100",
    "ALLOW_PAID_BROADCAST": "true",
    "FALLBACK_POLL_INTERVAL": "0.5",
    # A claim may be committed and its answer die with PostgREST: its rows come back after this.
    "SEND_TIMEOUT": "2",
    "LEASE_SECONDS": "10",
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fragile():
    """A stack whose parts are restarted."""
    async with LocalStack(migrations=migrations_directory(), delays=Delays.none()) as stack:
        yield stack


async def trickle(stack):
    """Insert events, a few at a time, through whatever happens to the database."""
    numbers = list(range(EVENTS))
    while numbers:
        try:
            async with await psycopg.AsyncConnection.connect(
                stack.postgres.dsn(), autocommit=True
            ) as database:
                while numbers:
                    await database.execute(
                        "insert into tma_events (telegram_id, event_type, dedupe_key)"
                        " select 1 + n %% %s, 'status_changed', n::text from unnest(%s::int[]) n"
                        " on conflict do nothing",
                        (CHATS, numbers[:5]),
                    )
                    del numbers[:5]
                    await asyncio.sleep(0.05)
        except psycopg.OperationalError:
            await asyncio.sleep(0.05)


async def postgrest(stack):
    await stack.postgrest.restart()


async def postgres_in_order(stack):
    await asyncio.to_thread(stack.postgres.restart, "fast")


async def postgres_by_a_crash(stack):
    await asyncio.to_thread(stack.postgres.restart, "immediate")


@pytest.mark.parametrize("restart", [postgrest, postgres_in_order, postgres_by_a_crash])
async def test_a_restart_loses_nothing_and_sends_nothing_twice(fragile, restart):
    """Twice in the middle of the work: every event arrives once."""
    async with World.around(fragile) as world:
        await world.sql("truncate tma_events")
        fragile.bot_api.sent.clear()
        bridge = world.bridge(**SETTINGS)
    await bridge.start()
    try:
        inserting = asyncio.create_task(trickle(fragile))
        for _ in range(2):
            await asyncio.sleep(0.4)
            await restart(fragile)
        await inserting

        async with World.around(fragile) as world:
            rows = await world.settled(EVENTS, 60)
            sent = await world.sent()
    finally:
        await bridge.stop()

    assert [(row["status"], row["failure"]) for row in rows] == [("delivered", None)] * EVENTS
    assert sorted(row["message_id"] for row in rows) == sorted(m["message_id"] for m in sent)
