"""Part 7: how much one chat with very many rows slows the others, and what a bulk insert costs."""

import asyncio
import time
from collections import defaultdict
from typing import Any

import aiohttp
import psycopg

from benchmarks.growth import CLAIM, Samples, cycle
from benchmarks.identity import headers_of, register_bot, signed
from benchmarks.numbers import median, percentile, table, verdict
from benchmarks.sections import SECTIONS
from benchmarks.stage import Stage
from realtime_bridge.database import migrations_directory
from tma_sandbox import migrations

QUICK: dict[str, Any] = {"rows": 5000, "samples": 30, "bulk": 2000, "inserts": 3}
_CROWD = """
    insert into tma_events (telegram_id, event_type, deliver_after)
    select 42, 'status_changed', now() - interval '1 hour' from generate_series(1, %s)
"""


async def run(
    rows: int = 150_000, samples: int = 300, bulk: int = 10_000, inserts: int = 20
) -> dict[str, Any]:
    """Compare tables with and without such a chat, then measure refused bulk inserts."""
    async with Stage() as stage:
        claims = await asyncio.to_thread(_claims, stage, rows, samples)
        bulks = await _bulks(stage, bulk, inserts)
    return {"rows": rows, "milliseconds": claims, "bulk": bulk, "refused": bulks}


def _claims(stage: Stage, rows: int, samples: int) -> dict[str, Samples]:
    found: dict[str, Samples] = {}
    dsns = [stage.postgres.create_database(name) for name in ("crowded", "quiet")]
    for dsn in dsns:
        migrations.apply(dsn, migrations_directory())
    with (
        psycopg.connect(dsns[0], autocommit=True) as crowded,
        psycopg.connect(dsns[1], autocommit=True) as quiet,
    ):
        crowded.execute(_CROWD, (rows,))
        # The first claim takes the chat's first row, which then blocks the others for good.
        crowded.execute("select claim_tma_events(1, gen_random_uuid())")
        names = (f"with one chat of {rows:,} rows", "without it")
        for name in names:
            found[name] = defaultdict(list)
        for number in range(samples):
            for connection, name in zip((crowded, quiet), names, strict=True):
                cycle(connection, 10**9 + number * CLAIM, found[name])
    return found


async def _bulks(stage: Stage, rows: int, times: int) -> list[float]:
    """Milliseconds until PostgREST refuses a user's insert of this many rows."""
    body = [{"event_type": "status_changed", "payload": {"new_status": "x"}}] * rows
    with psycopg.connect(stage.postgres.dsn(), autocommit=True) as database:
        register_bot(database, stage.keys.bot_token)
    took = []
    proven = {
        **headers_of(stage.keys.api_key("anon")),
        "x-telegram-init-data": signed(stage.keys.bot_token),
    }
    async with aiohttp.ClientSession(headers=proven) as session:
        for _ in range(times):
            begin = time.perf_counter()
            async with session.post(f"{stage.postgrest.url}/tma_events", json=body) as answer:
                if answer.status != 400:
                    raise RuntimeError(f"answered {answer.status}: {await answer.text()}")
            took.append((time.perf_counter() - begin) * 1000)
    return took


def report(result: dict[str, Any]) -> str:
    """The tables and the verdicts."""
    found: dict[str, Samples] = result["milliseconds"]
    crowded, quiet = found.values()
    (head,) = SECTIONS["crowd"].tables
    rows = [
        [
            name,
            *(f"{median(part[one]):.2f} / {percentile(part[one], 0.99):.1f}" for one in head[1:]),
        ]
        for name, part in found.items()
    ]
    refused: list[float] = result["refused"]
    return "\n".join(
        [
            table(head, rows),
            "",
            *(
                verdict(
                    f"{one} with one chat of {result['rows']:,} rows, relative to none",
                    median(crowded[one]) / median(quiet[one]),
                    1.5,
                    least=False,
                )
                for one in ("claim", "sweep")
            ),
            verdict(
                f"seconds until a user's insert of {result['bulk']:,} rows is refused",
                median(refused) / 1000,
                0.5,
                least=False,
            ),
        ]
    )
