"""Part 4: what claim, settle and stats cost as history grows, and after much churn."""

import asyncio
import json
import threading
import time
from collections import defaultdict
from typing import Any

import psycopg

from benchmarks.numbers import median, percentile, table, verdict
from benchmarks.sections import SECTIONS
from realtime_bridge.database import migrations_directory
from tma_sandbox import migrations
from tma_sandbox.postgres import Postgres

CLAIM = 32  # rows; the columns in sections.py say it too
CHURN = "after churn"
QUICK: dict[str, Any] = {
    "sizes": (0, 20_000), "samples": 50, "churn": 2000, "purge": 5000
}  # fmt: skip

_HISTORY = """
    insert into tma_events (
        telegram_id, event_type, payload, status, attempt, message_id,
        claimed_at, send_started_at, created_at, deliver_after, delivered_at, settled_at
    )
    select 5000000 + n %% 100000, 'status_changed', '{"new_status": "contacted"}',
        'delivered', 1, n, at, at, at, at, at, at
    from generate_series(%s::bigint, %s::bigint - 1) n,
        lateral (select now() - interval '40 days' + n * interval '0.5 s') t (at)
"""
PENDING = """
    insert into tma_events (telegram_id, event_type, payload)
    select %s::bigint + n, 'status_changed', '{"new_status": "contacted"}'
    from generate_series(1, %s) n
"""

CLAIMED = """
    select (r ->> 'id')::bigint, (r ->> 'attempt')::integer
    from json_array_elements(
        claim_tma_events(%s, gen_random_uuid(), p_start_now => 0) -> 'rows'
    ) r
"""

Connection = psycopg.Connection[Any]
Samples = dict[str, list[float]]


async def run(
    sizes: tuple[int, ...] = (0, 100_000, 1_000_000, 5_000_000),
    samples: int = 300,
    churn: int = 200_000,
    purge: int = 1_000_000,
) -> dict[str, Any]:
    """Grow one table and measure at each size. Runs in a thread: nothing else is going on."""
    return await asyncio.to_thread(_run, sizes, samples, churn, purge)


def _run(sizes: tuple[int, ...], samples: int, churn: int, purge: int) -> dict[str, Any]:
    found: dict[str, Samples] = {}
    with Postgres() as postgres:
        dsns = {name: _database(postgres, name) for name in ("empty", "grown")}
        with (
            psycopg.connect(dsns["empty"], autocommit=True) as empty,
            psycopg.connect(dsns["grown"], autocommit=True) as grown,
        ):
            have = 0
            for size in sizes:
                _grow(grown, have, size)
                have = size
                name = f"{size:,} terminal rows"
                # The empty table, in turn: the same noise for both.
                found[name], found[f"{name}: empty table"] = _beside(grown, empty, samples)
                _say(name, found[name])
            took = _churn(empty, churn)
            name = f"{CHURN} ({churn:,} claims and settles in {took:.0f} s)"
            vacuumed = f"{CHURN}, once vacuumed"
            with psycopg.connect(_database(postgres, "fresh"), autocommit=True) as fresh:
                found[name], found[f"{name}: empty table"] = _beside(empty, fresh, samples)
                empty.execute("vacuum tma_events")  # as autovacuum does within a minute
                found[vacuumed], found[f"{vacuumed}: empty table"] = _beside(empty, fresh, samples)
            _say(name, found[name])
            _say(vacuumed, found[vacuumed])
            purged = _purge(grown, dsns["grown"], purge, samples)
    return {"milliseconds": found, "purge": purged}


def _database(postgres: Postgres, name: str) -> str:
    dsn = postgres.create_database(name)
    migrations.apply(dsn, migrations_directory())
    return dsn


def _grow(connection: Connection, have: int, size: int) -> None:
    connection.execute("alter table tma_events disable trigger user")
    for first in range(have, size, 500_000):
        connection.execute(_HISTORY, (first, min(first + 500_000, size)))
    connection.execute("alter table tma_events enable trigger user")
    connection.execute("vacuum analyze tma_events")


def _beside(one: Connection, other: Connection, samples: int) -> tuple[Samples, Samples]:
    """Measure two tables in turns."""
    first: Samples = defaultdict(list)
    second: Samples = defaultdict(list)
    for number in range(samples):
        for connection, into in ((one, first), (other, second)):
            cycle(connection, 10**9 + number * CLAIM, into)
    return first, second


def cycle(connection: Connection, chat: int, into: Samples) -> None:
    """Insert, claim, start and settle CLAIM rows, and call the stats function."""
    connection.execute(PENDING, (chat, CLAIM))
    rows = _timed(connection, into, "claim", CLAIMED, (CLAIM,))
    if len(rows) != CLAIM:
        raise RuntimeError(f"claimed {len(rows)} rows instead of {CLAIM}")
    claims = [{"id": id_, "attempt": attempt} for id_, attempt in rows]
    _timed(connection, into, "start", "select start_tma_events(%s)", (json.dumps(claims),))
    ends = [{**claim, "status": "delivered", "message_id": 1} for claim in claims]
    _timed(connection, into, "settle", "select settle_tma_events(%s)", (json.dumps(ends),))
    sweep = "select * from recover_tma_events('2 minutes', false)"
    _timed(connection, into, "sweep", sweep, ())
    if len(into["claim"]) % 10 == 0:
        _timed(connection, into, "stats", "select tma_event_stats()", ())


def _timed(
    connection: Connection, into: Samples, name: str, query: str, values: tuple[Any, ...]
) -> list[Any]:
    begin = time.perf_counter()
    rows = connection.execute(query, values).fetchall()
    into[name].append((time.perf_counter() - begin) * 1000)
    return rows


def _churn(connection: Connection, rows: int) -> float:
    """Insert, claim, start and settle this many rows, 100 at a time; return the seconds."""
    begin = time.monotonic()
    for number in range(rows // 100):
        connection.execute(PENDING, (2 * 10**9 + number * 100, 100))
        claims = [
            {"id": id_, "attempt": attempt} for id_, attempt in connection.execute(CLAIMED, (100,))
        ]
        connection.execute("select start_tma_events(%s)", (json.dumps(claims),))
        ends = [{**claim, "status": "delivered", "message_id": 1} for claim in claims]
        connection.execute("select settle_tma_events(%s)", (json.dumps(ends),))
    return time.monotonic() - begin


def _purge(connection: Connection, dsn: str, rows: int, samples: int) -> dict[str, Any]:
    """Claim while `rows` rows are purged at full speed, and before that without a purge."""
    before: Samples = defaultdict(list)
    during: Samples = defaultdict(list)
    for number in range(samples):
        cycle(connection, 3 * 10**9 + number * CLAIM, before)
    process = _Purger(dsn, rows)
    begin, number = time.monotonic(), samples
    with process:
        while process.running:
            cycle(connection, 3 * 10**9 + number * CLAIM, during)
            number += 1
    seconds = time.monotonic() - begin
    left = connection.execute("select count(*) from tma_events").fetchone()
    print(f"purged {rows:,} rows in {seconds:.0f} s", flush=True)
    return {
        "rows": rows, "seconds": seconds, "before": before, "during": during,
        "left": left[0] if left else None,
    }  # fmt: skip


class _Purger:
    """Purges in batches of 1,000, in a thread with its own connection."""

    def __init__(self, dsn: str, rows: int) -> None:
        self._dsn, self._rows = dsn, rows
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def _work(self) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            for _ in range(self._rows // 1000):
                connection.execute("select purge_tma_events('10 days', 1000)")


def _say(name: str, samples: Samples) -> None:
    print(f"{name}: claim {median(samples['claim']):.2f} ms", flush=True)


def report(result: dict[str, Any]) -> str:
    """The tables and the verdicts."""
    found: dict[str, Samples] = result["milliseconds"]
    (head,) = SECTIONS["growth"].tables
    calls = head[1:]
    rows = [
        [
            name,
            *(
                f"{median(samples[one]):.2f} / {percentile(samples[one], 0.99):.1f}"
                for one in calls
            ),
        ]
        for name, samples in found.items()
    ]
    purge = result["purge"]
    rows += [
        [
            f"{word} the purge of {purge['rows']:,}",
            *(f"{median(part[one]):.2f} / {percentile(part[one], 0.99):.1f}" for one in calls),
        ]
        for word, part in (("before", purge["before"]), ("during", purge["during"]))
    ]
    lines = [table(head, rows), ""]
    lines.append(f"purge: {purge['rows'] / purge['seconds']:,.0f} rows/s")
    for name, samples in found.items():
        beside = found.get(f"{name}: empty table")
        if beside:
            ratio = median(samples["claim"]) / median(beside["claim"])
            lines.append(
                verdict(f"claim, {name}, relative to an empty table", ratio, 1.2, least=False)
            )
    return "\n".join(lines)
