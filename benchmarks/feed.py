"""Part 9: how late the changes bell rings during a drain, by which tables Realtime reports."""

import asyncio
import time
from typing import Any

from benchmarks.latency import arrivals_of
from benchmarks.numbers import median, table
from benchmarks.queues import FIRST_CHAT, Queues
from benchmarks.sections import SECTIONS
from benchmarks.stage import Stage

STATEMENT = 100
SINGLE = FIRST_CHAT + 10_000_000
QUICK: dict[str, Any] = {"rows": 1000, "seconds": 10}
WAYS = {
    "bridge.bells (as shipped)": "",
    "tma_events as well": "alter publication supabase_realtime add table public.tma_events",
}
_LAG = """
    select coalesce(max(pg_current_wal_lsn() - confirmed_flush_lsn), 0)::bigint
    from pg_replication_slots
"""


async def run(rows: int = 10_000, seconds: int = 60) -> dict[str, Any]:
    """Drain `rows` with DOORBELL=changes, and insert one more row each second."""
    found = {}
    for name, publish in WAYS.items():
        async with Stage() as stage, Queues(stage) as queues:
            if publish:
                await queues.events.execute(publish)
            env = {"DOORBELL": "changes", "LIFTED": "1", "TELEGRAM_API_URL": stage.exact_sink}
            async with stage.worker("bridge", **env) as bridge:
                await bridge.says("doorbell_ready")
                found[name] = await _beside_a_drain(stage, queues, rows, seconds)
    return {"rows": rows, "ways": found}


async def _beside_a_drain(
    stage: Stage, queues: Queues, rows: int, seconds: int
) -> dict[str, list[float]]:
    """How late each single row was, and how far Realtime's slot lagged, second by second."""
    for _ in range(rows // STATEMENT):
        await queues.events.load(STATEMENT, STATEMENT)
    inserted, lags = {}, []
    for second in range(seconds):
        await queues.events.add(SINGLE + second, 0)
        inserted[SINGLE + second] = time.time()
        lags.append(float(await queues.events.value(_LAG)))
        await asyncio.sleep(1)
    arrived = await arrivals_of(stage, set(inserted))
    return {"late_s": [arrived[chat] - at for chat, at in inserted.items()], "lag_bytes": lags}


def report(result: dict[str, Any]) -> str:
    """The table."""
    rows = [
        [
            name,
            f"{median(found['late_s']):.2f}",
            f"{max(found['late_s']):.1f}",
            f"{max(found['lag_bytes']) / 1e6:.1f}",
            sum(lag > 100_000 for lag in found["lag_bytes"]),
        ]
        for name, found in result["ways"].items()
    ]
    (head,) = SECTIONS["feed"].tables
    return "\n".join(
        [
            f"One row a second during a drain of {result['rows']:,}, changes bell alone:",
            "",
            table(head, rows),
        ]
    )
