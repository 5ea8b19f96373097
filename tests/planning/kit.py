"""What the tests of the second lane share."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime

from psycopg.types.json import Jsonb

from realtime_bridge import Bridge
from realtime_bridge.request_tables.request import Request
from realtime_bridge.settings import parse
from tests.integration.kit import until

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def request(**fields):
    """A claimed request; every field that is not given is plausible."""
    values = {
        "id": 1,
        "telegram_id": 100,
        "lead_id": 7,
        "lead_name": "Ann",
        "attempt": 1,
        "created_at": NOON,
        "claimed_at": NOON,
    }
    return Request(**{**values, **fields})


def plan(*steps, **fields):
    """A plan as a planner may return it: by default of one step."""
    return {"steps": list(steps) or [{"step_id": 1, "description": "Call"}], **fields}


def step(step_id=1, description="Call", **fields):
    """One step of a plan."""
    return {"step_id": step_id, "description": description, **fields}


@asynccontextmanager
async def bridge_with(world, planner=None, *, request_tables=(), **settings):
    """A bridge in this process that is up, with a planner (and tables) of the test's own."""
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


async def ask(world, telegram_id=5, lead_id=7, *, table="plan_requests", **columns):
    """Insert a request as psql would; return its id."""
    columns = {"telegram_id": telegram_id, "lead_id": lead_id, **columns}
    values = [Jsonb(v) if isinstance(v, dict) else v for v in columns.values()]
    marks = ", ".join(["%s"] * len(values))
    rows = await world.sql(
        f"insert into {table} ({', '.join(columns)}) values ({marks}) returning id", *values
    )
    return rows[0]["id"]


async def answered(world, count=1, *, table="plan_requests"):
    """Wait until so many requests are there and none is open; return their rows."""

    async def all_answered():
        rows = await world.sql(f"select * from {table} order by id")
        return rows if len(rows) == count and all(row["settled_at"] for row in rows) else None

    return await until(all_answered)


async def told(world, count):
    """Wait until users have read so many messages; return their texts."""

    async def enough():
        texts = await world.texts()
        return texts if len(texts) >= count else None

    return await until(enough)
