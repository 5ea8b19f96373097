"""Part 11: an answer every second while bulk waits, under Telegram's limits."""

import asyncio
import time
from typing import Any

from benchmarks.numbers import median, percentile, table, verdict
from benchmarks.queues import FIRST_CHAT, Events, Queues
from benchmarks.sections import SECTIONS
from benchmarks.stage import Stage, until

QUICK: dict[str, Any] = {"bulk": 500, "answers": 5}
LIMIT = 30.0
ANSWERING = 10 * FIRST_CHAT  # chats of answers


async def run(bulk: int = 10_000, answers: int = 60) -> dict[str, Any]:
    """Measure from each answer's insert to its arrival."""
    async with Stage() as stage, Queues(stage) as queues:
        sink = await stage.limited_sink()
        await queues.events.clear()
        await queues.events.load(bulk, chats=bulk)
        await queues.events.execute("update tma_events set priority = -1")
        async with stage.worker("plain_bridge", TELEGRAM_API_URL=sink) as child:
            await child.says("started")
            took, share = await _measure(stage, queues.events, sink, answers)
    return {"bulk": bulk, "seconds": took, "bulk_share": share}


async def _measure(
    stage: Stage, events: Events, sink: str, answers: int
) -> tuple[list[float], float]:
    inserted: dict[int, float] = {}
    came: list[tuple[float, int, int]] = []
    begun = time.time()
    for chat in range(ANSWERING, ANSWERING + answers):
        inserted[chat] = time.time()
        await events.add(chat, 1)
        await asyncio.sleep(1)

    async def all_came() -> bool:
        came.extend(await stage.arrivals(sink))
        return {chat for _, chat, _ in came} >= inserted.keys()

    await until(all_came)
    arrived = {chat: at for at, chat, _ in came}
    took = [arrived[chat] - at for chat, at in inserted.items()]
    rest = [at for at, chat, _ in came if chat < ANSWERING and at >= begun]
    return took, len(rest) / (max(rest) - begun) / LIMIT


def report(result: dict[str, Any]) -> str:
    """The table, and what must hold."""
    took: list[float] = result["seconds"]
    (head,) = SECTIONS["priority"].tables
    row = [
        f"{len(took)} answers among {result['bulk']:,} bulk rows",
        f"{median(took) * 1000:.0f}",
        f"{percentile(took, 0.99) * 1000:.0f}",
        f"{max(took) * 1000:.0f}",
        f"{result['bulk_share']:.0%}",
    ]
    return "\n".join(
        [
            table(head, [row]),
            "",
            verdict("p99 of an answer, seconds", percentile(took, 0.99), 1.0, least=False),
            verdict("bulk's share of the limit", result["bulk_share"], 0.1),
        ]
    )


if __name__ == "__main__":
    asyncio.run(run())
