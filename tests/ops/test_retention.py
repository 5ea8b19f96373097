"""Old rows go by themselves."""

from tests.integration.kit import until


async def test_old_rows_are_deleted_and_young_ones_kept(world):
    """Delivered and failed alike; what waits is kept whatever its age."""
    await world.sql(
        "insert into tma_events (telegram_id, event_type, status, failure, settled_at,"
        " delivered_at) select n, 'x', status, failure, now() - age, delivered_at - age"
        " from (values (1, 'delivered', null, now(), interval '3 days'),"
        " (2, 'failed', 'blocked', null, '3 days'), (3, 'delivered', null, now(), '1 hour'))"
        " rows (n, status, failure, delivered_at, age)"
    )
    await world.insert(4, created_at="2020-01-01", deliver_after="2099-01-01")

    async def left():
        rows = await world.sql("select telegram_id from tma_events order by 1")
        return [row["telegram_id"] for row in rows] == [3, 4]

    async with world.running_bridge(RETENTION_DAYS="2"):
        await until(left)


async def test_old_rows_go_in_batches_that_nobody_notices(world, monkeypatch):
    """A year's worth is not one transaction."""
    monkeypatch.setattr("realtime_bridge.worker.retention.BATCH", 10)
    monkeypatch.setattr("realtime_bridge.worker.retention.PAUSE_SECONDS", 0.01)
    await world.sql(
        "insert into tma_events (telegram_id, event_type, status, settled_at, delivered_at)"
        " select n, 'x', 'delivered', now() - interval '9 days', now() - interval '9 days'"
        " from generate_series(1, 35) n"
    )

    async def empty():
        return not await world.sql("select from tma_events limit 1")

    async with world.running_bridge(RETENTION_DAYS="1"):
        await until(empty)
