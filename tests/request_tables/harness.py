"""A bridge on the real stack that answers requests; what a test inserts and waits for."""

from contextlib import asynccontextmanager

from psycopg.types.json import Jsonb

from realtime_bridge import Bridge
from realtime_bridge.settings import parse
from tests.integration.kit import until


@asynccontextmanager
async def bridge_with(world, planner=None, *, request_tables=(), **settings):
    """Run a bridge in this process, with a planner and tables of the test's own; wait for it."""
    bridge = Bridge(
        parse(world.environment(**settings)), planner=planner, request_tables=request_tables
    )
    await bridge.start()
    try:

        async def up():
            ready, state = bridge.readiness()
            return ready and "down" not in state.get("doorbell", {"changes": "down"}).values()

        await until(up, 30)
        yield bridge
    finally:
        await bridge.stop()


async def insert_request(world, telegram_id=5, lead_id=7, *, table="plan_requests", **columns):
    """Insert a request as psql would; return its id."""
    columns = {"telegram_id": telegram_id, "lead_id": lead_id, **columns}
    values = [Jsonb(v) if isinstance(v, dict) else v for v in columns.values()]
    marks = ", ".join(["%s"] * len(values))
    rows = await world.sql(
        f"insert into {table} ({', '.join(columns)}) values ({marks}) returning id", *values
    )
    return rows[0]["id"]


async def settled_requests(world, count=1, *, table="plan_requests"):
    """Wait until there are this many requests and none is open; return their rows."""

    async def all_settled():
        rows = await world.sql(f"select * from {table} order by id")
        return rows if len(rows) == count and all(row["settled_at"] for row in rows) else None

    return await until(all_settled)


async def sent_texts(world, count):
    """Wait until this many messages were sent; return their texts."""

    async def enough():
        texts = await world.texts()
        return texts if len(texts) >= count else None

    return await until(enough)
