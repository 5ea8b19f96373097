"""Part 10: several replicas at their defaults, under Telegram's limits."""

import asyncio
from collections import defaultdict
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any

from benchmarks.numbers import table, verdict
from benchmarks.queues import Events, Queues
from benchmarks.sections import SECTIONS
from benchmarks.stage import Stage, until

QUICK: dict[str, Any] = {"rows": 90, "fleets": (1, 2)}
LIMIT = 30.0
REFUSED = -1


async def run(rows: int = 900, fleets: tuple[int, ...] = (1, 3, 8)) -> dict[str, Any]:
    """Let each fleet send so many rows, four to a chat."""
    result: dict[str, Any] = {}
    async with Stage() as stage, Queues(stage) as queues:
        sink = await stage.limited_sink()
        for replicas in fleets:
            result[str(replicas)] = await _fleet(stage, queues.events, sink, replicas, rows)
    return result


async def _fleet(
    stage: Stage, events: Events, sink: str, replicas: int, rows: int
) -> dict[str, float]:
    await events.clear()
    async with AsyncExitStack() as stack:
        for _ in range(replicas):
            worker = stage.worker("plain_bridge", TELEGRAM_API_URL=sink)
            child = await stack.enter_async_context(worker)
            await child.says("started")
        await stage.arrivals(sink)
        await events.load(rows, chats=rows // 4)

        async def drained() -> bool:
            return await events.left() == 0

        await until(drained, 60 + 4 * rows / LIMIT)
    came = await stage.arrivals(sink)
    sent = [one for one in came if one[2] != REFUSED]
    numbers = defaultdict(list)
    for _, chat, number in sent:
        numbers[chat].append(number)
    return {
        "sent": len(sent),
        "refused": len(came) - len(sent),
        "rate": (len(sent) - 1) / (sent[-1][0] - sent[0][0]),
        "out_of_order": sum(a >= b for each in numbers.values() for a, b in pairwise(each)),
    }


def report(result: dict[str, Any]) -> str:
    """The table, and what must hold."""
    rows = [
        [replicas, one["sent"], one["refused"], f"{one['rate']:.2f}", one["out_of_order"]]
        for replicas, one in result.items()
    ]
    (head,) = SECTIONS["fleet"].tables
    lines = [table(head, rows), ""]
    for replicas, one in result.items():
        lines += [
            verdict(f"429s of {replicas}", one["refused"], 0, least=False),
            verdict(f"share of the limit that {replicas} reach", one["rate"] / LIMIT, 0.95),
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    asyncio.run(run())
