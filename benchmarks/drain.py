"""Part 1: how fast each contender sends 5,000 waiting rows, and at what cost."""

import os
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks import usage
from benchmarks.numbers import median, spread, table, verdict
from benchmarks.queues import Queue, Queues
from benchmarks.sections import SECTIONS
from benchmarks.stage import Stage, until

BRIDGE = "bridge, CONCURRENCY=256"
DEFAULTS = "bridge, default 64"
PACED = "bridge at 1,000/s"
PGQUEUER = "PgQueuer"
PGQUEUER_100 = "PgQueuer, batch 100"
PROCRASTINATE = "Procrastinate"
PROCRASTINATE_64 = "Procrastinate, 64 jobs"


@dataclass(frozen=True)
class Contender:
    """A worker, its settings, and its queue. `share`: the part of the rows that a slow one gets."""

    name: str
    worker: str
    queue: str
    env: dict[str, str] = field(default_factory=dict)
    share: float = 1.0


CONTENDERS = [
    Contender(
        BRIDGE,
        "bridge",
        "events",
        {"DOORBELL": "broadcast", "LIFTED": "1", "CONCURRENCY": "256"},
    ),
    Contender(DEFAULTS, "bridge", "events", {"DOORBELL": "broadcast", "LIFTED": "1"}),
    Contender(PGQUEUER_100, "pgqueuer_worker", "pgqueuer", {"BATCH": "100"}),
    Contender(PGQUEUER, "pgqueuer_worker", "pgqueuer"),
    Contender(
        PACED,
        "bridge",
        "events",
        {
            "DOORBELL": "broadcast",
            "ALLOW_PAID_BROADCAST": "true",
            "TELEGRAM_RATE": "1000",
            "TELEGRAM_CHAT_RATE": "100",
            "CONCURRENCY": "256",
        },
    ),
    Contender(PROCRASTINATE, "procrastinate_worker", "procrastinate", share=0.2),
    Contender(PROCRASTINATE_64, "procrastinate_worker", "procrastinate", {"JOBS": "64"}, share=0.2),
]


@dataclass(frozen=True)
class Result:
    """One drain. CPU in seconds per 1,000 rows."""

    rate: float
    cpu: dict[str, float]
    peak_rss_mb: float
    wal_per_row: float
    requests_per_row: float
    rows: int
    load: float  # 1-minute load average when it began


async def drain(stage: Stage, queue: Queue, contender: Contender, rows: int) -> Result:
    """Let one contender send `rows` rows, each to its own chat.

    The rate is measured at the sink, from the first arrival to the last.
    """
    load = os.getloadavg()[0]
    await queue.clear()
    await queue.load(rows, chats=rows)
    wal, since = await queue.wal(), max(stage.nginx.arrivals() or [0.0])

    async def drained() -> bool:
        return await queue.left() == 0

    async with stage.worker(contender.worker, **contender.env) as child:
        meter = stage.meter(worker=child.pid)
        await _first_arrival(stage, since)
        sent_before = usage.cpu_seconds(child.pid)
        await until(drained)
        cpu = meter.read()
        cpu["worker"] = usage.cpu_seconds(child.pid) - sent_before  # without its imports
        peak = usage.peak_rss_mb(child.pid)
    arrivals = [at for at in stage.nginx.arrivals(since) if at > since]
    if len(arrivals) != rows:
        raise RuntimeError(f"{contender.name} sent {len(arrivals)} messages for {rows} rows")
    calls = len(stage.nginx.requests(min(arrivals) - 0.1))
    return Result(
        rate=(rows - 1) / (max(arrivals) - min(arrivals)),
        cpu={name: seconds * 1000 / rows for name, seconds in cpu.items()},
        peak_rss_mb=peak,
        wal_per_row=(await queue.wal() - wal) / rows,
        requests_per_row=calls / rows,
        rows=rows,
        load=load,
    )


async def _first_arrival(stage: Stage, since: float) -> None:
    async def arrived() -> bool:
        return any(at > since for at in stage.nginx.arrivals(since))

    await until(arrived)


async def run(rounds: int = 3, rows: int = 5000, only: str = "") -> dict[str, Any]:
    """Interleave all contenders; return every round."""
    results: dict[str, list[Result]] = defaultdict(list)
    contenders = [one for one in CONTENDERS if only in one.name]
    async with Stage() as stage, Queues(stage) as queues:
        for number in range(rounds):
            for contender in contenders:
                queue = getattr(queues, contender.queue)
                own = {**contender.env, **queues.env()}
                told = Contender(contender.name, contender.worker, contender.queue, own)
                result = await drain(stage, queue, told, int(rows * contender.share))
                results[contender.name].append(result)
                print(
                    f"round {number + 1}: {contender.name}: {result.rate:.0f} rows/s, "
                    f"load {result.load:.1f}",
                    flush=True,
                )
    return {name: [asdict(one) for one in all_] for name, all_ in results.items()}


def report(kept: dict[str, Any]) -> str:
    """The table, and what must hold."""
    results = {name: [Result(**one) for one in all_] for name, all_ in kept.items()}
    (head,) = SECTIONS["drain"].tables
    rows = [
        [
            name,
            all_[0].rows,
            spread([one.rate for one in all_]),
            spread([one.cpu["worker"] for one in all_], 2),
            spread([one.cpu["postgres"] for one in all_], 2),
            spread([one.cpu["postgrest"] for one in all_], 2),
            f"{median([one.peak_rss_mb for one in all_]):.0f}",
            f"{median([one.wal_per_row for one in all_]):.0f}",
            f"{median([one.requests_per_row for one in all_]):.3f}",
            spread([one.load for one in all_], 1),
        ]
        for name, all_ in results.items()
    ]
    lines = [table(head, rows), ""]
    rate = {name: median([one.rate for one in all_]) for name, all_ in results.items()}
    if BRIDGE in rate:
        lines.append(verdict("the bridge, rows/s", rate[BRIDGE], 1000))
        spent = median([one.cpu["worker"] for one in results[BRIDGE]])
        lines.append(f"CPU of the bridge alone: {1000 / spent:,.0f} rows per second of a core")
        limits = {PGQUEUER_100: 1.3, PGQUEUER: 2, PROCRASTINATE: 5, PROCRASTINATE_64: 5}
        lines += [
            verdict(f"the bridge relative to {name}", rate[BRIDGE] / rate[name], limit)
            for name, limit in limits.items()
            if name in rate
        ]
    return "\n".join(lines)


QUICK: dict[str, Any] = {"rounds": 1, "rows": 500}
