"""Part 5: several bridges on one table, order within chats, and a burst in one statement."""

import asyncio
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from typing import Any

from benchmarks.numbers import spread, table
from benchmarks.queues import Queues
from benchmarks.sections import SECTIONS
from benchmarks.stage import Child, Stage, until

QUICK: dict[str, Any] = {"rounds": 1, "rows": 400, "burst": 1000}
LIFTED = {"LIFTED": "1", "CONCURRENCY": "128"}


async def run(rounds: int = 2, rows: int = 5000, burst: int = 10_000) -> dict[str, Any]:
    """Drain with 1, 2 and 4 replicas, then insert a burst with each kind of bell."""
    drains: dict[int, list[dict[str, Any]]] = defaultdict(list)
    bursts: dict[str, list[dict[str, Any]]] = defaultdict(list)
    async with Stage() as stage, Queues(stage) as queues:
        for _ in range(rounds):
            for replicas in (1, 2, 4):
                one = await _drain(stage, queues, replicas, rows)
                drains[replicas].append(one)
                print(f"{replicas} replicas: {one}", flush=True)
        for bell in ("broadcast", "changes"):
            one = await _burst(stage, queues, bell, burst)
            bursts[bell].append(one)
            print(f"burst of {burst} with {bell}: {one}", flush=True)
    return {"drains": drains, "bursts": bursts, "rows": rows, "burst": burst}


async def _drain(stage: Stage, queues: Queues, replicas: int, rows: int) -> dict[str, Any]:
    """Start idle replicas, then insert all rows at once, ten for each chat."""
    await queues.events.clear()
    await stage.arrivals()
    async with AsyncExitStack() as stack:
        await _start(stage, stack, replicas, {"DOORBELL": "broadcast"})
        begin = time.time()
        await queues.events.load(rows, chats=rows // 10)
        arrived = await _all_arrived(stage, queues, rows)
    return {
        "rate": rows / (max(at for at, _, _ in arrived) - begin),
        "out_of_order": _out_of_order(arrived),
        "twice": len(arrived) - len({(chat, number) for _, chat, number in arrived}),
    }


async def _burst(stage: Stage, queues: Queues, bell: str, rows: int) -> dict[str, Any]:
    """Insert rows of as many chats in one statement; return when the first and last arrived."""
    await queues.events.clear()
    await stage.arrivals()
    async with AsyncExitStack() as stack:
        (child,) = await _start(stage, stack, 1, {"DOORBELL": bell})
        await asyncio.sleep(4)  # past the sweep that was scheduled before the bell was ready
        await queues.events.load(rows, chats=rows)
        begin = time.time()
        arrived = await _all_arrived(stage, queues, rows)
        missed = child.output().count("missed")
    return {
        "first_s": min(at for at, _, _ in arrived) - begin,
        "last_s": max(at for at, _, _ in arrived) - begin,
        "log_lines_missed": missed,
    }


async def _start(
    stage: Stage, stack: AsyncExitStack, replicas: int, env: dict[str, str]
) -> list[Child]:
    children = [
        await stack.enter_async_context(
            stage.worker("bridge", **env, **LIFTED, TELEGRAM_API_URL=stage.exact_sink)
        )
        for _ in range(replicas)
    ]
    for child in children:
        await child.says("doorbell_ready")
    await asyncio.sleep(1)
    return children


async def _all_arrived(stage: Stage, queues: Queues, rows: int) -> list[tuple[float, int, int]]:
    arrived: list[tuple[float, int, int]] = []

    async def done() -> bool:
        return await queues.events.left() == 0

    await until(done)
    arrived += await stage.arrivals()
    if len(arrived) < rows:
        raise RuntimeError(f"{len(arrived)} messages for {rows} rows")
    return arrived


def _out_of_order(arrived: list[tuple[float, int, int]]) -> int:
    """Count messages that arrived after a later one of their chat."""
    highest: dict[int, int] = {}
    wrong = 0
    for _, chat, number in sorted(arrived):
        wrong += number < highest.get(chat, -1)
        highest[chat] = max(highest.get(chat, -1), number)
    return wrong


def report(result: dict[str, Any]) -> str:
    """The tables."""
    by_replicas, by_bell = SECTIONS["fanin"].tables
    drains = [
        [
            replicas,
            spread([one["rate"] for one in all_]),
            sum(one["out_of_order"] for one in all_),
            sum(one["twice"] for one in all_),
        ]
        for replicas, all_ in result["drains"].items()
    ]
    bursts = [
        [bell, f"{one['first_s']:.2f}", f"{one['last_s']:.1f}"]
        for bell, all_ in result["bursts"].items()
        for one in all_
    ]
    return "\n".join(
        [
            f"{result['rows']:,} rows to {result['rows'] // 10:,} chats, ten each:",
            "",
            table(by_replicas, drains),
            "",
            f"{result['burst']:,} rows in one statement:",
            "",
            table(by_bell, bursts),
        ]
    )
