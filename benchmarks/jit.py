"""Part 8: what a claim costs where Postgres compiles what it takes for dear (jit = on)."""

import asyncio
import json
import time
from typing import Any

import psycopg

from benchmarks.growth import PENDING
from benchmarks.numbers import median, percentile, table, verdict
from realtime_bridge.local import migrations
from realtime_bridge.local.postgres import Postgres

QUICK: dict[str, Any] = {"samples": 30}


async def run(samples: int = 500) -> dict[str, Any]:
    """Claim one row with and without JIT, in turns."""
    return await asyncio.to_thread(_run, samples)


def _run(samples: int) -> dict[str, Any]:
    took: dict[str, list[float]] = {"on": [], "off": []}
    with Postgres() as postgres:
        dsn = postgres.create_database("jit")
        migrations.apply(dsn)
        with (
            psycopg.connect(dsn, autocommit=True) as on,
            psycopg.connect(dsn, autocommit=True) as off,
        ):
            row = on.execute("select pg_jit_available(), version()").fetchone()
            if not row or not row[0]:
                text = (
                    "This PostgreSQL cannot compile queries; name one that can (Debian's): "
                    "REALTIME_BRIDGE_PG_BIN=/usr/lib/postgresql/15/bin"
                )
                print(text)
                return {"skipped": text}
            on.execute("set jit = on")
            off.execute("set jit = off")
            for number in range(samples):
                for connection, into in ((on, took["on"]), (off, took["off"])):
                    connection.execute(PENDING, (number, 1))
                    into.append(_claim(connection))
    result = {"version": row[1], "milliseconds": took}
    print(report(result))
    return result


def _claim(connection: psycopg.Connection[Any]) -> float:
    begin = time.perf_counter()
    claimed = connection.execute("select id, attempt from claim_tma_events(1)").fetchall()
    took = (time.perf_counter() - begin) * 1000
    ends = [
        {"id": id_, "attempt": attempt, "status": "delivered", "message_id": 1}
        for id_, attempt in claimed
    ]
    connection.execute("select settle_tma_events(%s)", (json.dumps(ends),))
    return took


def report(result: dict[str, Any]) -> str:
    """The table, and what must hold."""
    took: dict[str, list[float]] = result["milliseconds"]
    rows = [
        [f"jit = {name}", f"{median(all_):.2f}", f"{percentile(all_, 0.99):.2f}"]
        for name, all_ in took.items()
    ]
    ratio = median(took["on"]) / median(took["off"])
    return "\n".join(
        [
            str(result["version"]),
            "",
            table(["claim of one row", "p50 ms", "p99 ms"], rows),
            "",
            verdict("claim with jit on beside jit off", ratio, 1.5, least=False),
        ]
    )


if __name__ == "__main__":
    asyncio.run(run())
