"""Part 2: from the commit of an insert to the request at the Bot API, one row at a time."""

import asyncio
import json
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from benchmarks.numbers import median, percentile, table, verdict
from benchmarks.queues import FIRST_CHAT, Queue, Queues
from benchmarks.sections import SECTIONS
from benchmarks.stage import Child, Stage, until

BROADCAST = "bridge, broadcast bell"
PGQUEUER = "PgQueuer, LISTEN/NOTIFY"
WARM_UP = 20


@dataclass(frozen=True)
class Contender:
    """A worker and its settings. `slow`: it takes seconds, so a few rows are enough."""

    name: str
    worker: str
    queue: str
    env: dict[str, str] = field(default_factory=dict)
    deaf: bool = False
    slow: bool = False


CONTENDERS = [
    Contender(BROADCAST, "bridge", "events", {"DOORBELL": "broadcast"}),
    Contender(PGQUEUER, "pgqueuer_worker", "pgqueuer"),
    Contender("Procrastinate, LISTEN/NOTIFY", "procrastinate_worker", "procrastinate"),
    Contender("bridge, changes bell", "bridge", "events", {"DOORBELL": "changes"}, slow=True),
    Contender("bridge, doorbell down: polls", "bridge", "events", deaf=True, slow=True),
    Contender("poller, every 3 s", "poller", "events", slow=True),
]


@dataclass(frozen=True)
class Pace:
    """The seconds between inserts, and their number; slow contenders get fewer."""

    every: float
    rows: int
    slow_rows: int


PACES = (Pace(0.05, 400, 200), Pace(1.0, 20, 15))
QUICK: dict[str, Any] = {"rounds": 1, "paces": (Pace(0.05, 40, 20),)}


async def run(
    rounds: int = 2, paces: tuple[Pace, ...] = PACES, only: str = "", *, slow_rounds: int = 1
) -> dict[str, Any]:
    """Interleave the contenders; return milliseconds."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    stages: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    async with Stage() as stage, Queues(stage) as queues:
        for number in range(rounds):
            for contender in CONTENDERS:
                if only not in contender.name or (contender.slow and number >= slow_rounds):
                    continue
                measured = await _measure(stage, queues, contender, paces)
                for every, (took, split) in measured.items():
                    found[contender.name][every] += took
                    for name, values in split.items():
                        stages[f"{contender.name}, every {every}"][name] += values
                    print(
                        f"round {number + 1}: {contender.name}, every {every}: "
                        f"p50 {percentile(took, 0.5):.1f} p99 {percentile(took, 0.99):.1f} ms",
                        flush=True,
                    )
    return {
        "milliseconds": found,
        "stages": {
            name: {stage: median(values) for stage, values in split.items()}
            for name, split in stages.items()
        },
    }


Measured = dict[str, tuple[list[float], dict[str, list[float]]]]


async def _measure(
    stage: Stage, queues: Queues, contender: Contender, paces: tuple[Pace, ...]
) -> Measured:
    """For each pace, the milliseconds of every row and of its stages."""
    queue: Queue = getattr(queues, contender.queue)
    await queue.clear()
    await stage.arrivals()
    marks = stage.scratch("marks.json")
    marks.unlink(missing_ok=True)
    env = {**contender.env, **queues.env(), "TELEGRAM_API_URL": stage.exact_sink, "LIFTED": "1"}
    env["MARKS"] = str(marks)
    if contender.deaf:
        env["SUPABASE_URL"] = stage.nginx.deaf_gateway
    committed: dict[str, dict[int, float]] = {}
    chat = FIRST_CHAT
    async with stage.worker(contender.worker, **env) as child:
        chat = await _warm_up(stage, queue, contender, child, chat)
        for pace in paces:
            rows = pace.slow_rows if contender.slow else pace.rows
            committed[f"{pace.every:g} s"] = await insert(queue, chat, rows, pace.every)
            chat += rows
        arrived = await arrivals_of(stage, {one for part in committed.values() for one in part})
    told = json.loads(marks.read_text()) if marks.exists() else {}
    return {
        every: (
            [(arrived[one] - at) * 1000 for one, at in part.items()],
            split(part, arrived, told),
        )
        for every, part in committed.items()
    }


async def _warm_up(
    stage: Stage, queue: Queue, contender: Contender, child: Child, chat: int
) -> int:
    """Let it start and send some rows; return the next free chat."""
    await child.says("started" if contender.worker == "bridge" else "ready")
    if contender.worker == "bridge" and not contender.deaf:
        await child.says("doorbell_ready")
    await asyncio.sleep(1)
    for number in range(3 if contender.slow else WARM_UP):
        await queue.add(chat + number, 0)
        await asyncio.sleep(0.1)
    heard: list[Any] = []

    async def warm() -> bool:
        heard.extend(await stage.arrivals())
        return len(heard) >= (3 if contender.slow else WARM_UP)

    await until(warm)
    return chat + WARM_UP


async def insert(
    queue: Queue, chat: int, rows: int, every: float, after: float = 0.0
) -> dict[int, float]:
    """Insert at a steady pace; return when each commit was confirmed."""
    committed = {}
    begin = time.monotonic() + after
    for number in range(rows):
        # Not in step with any poller.
        due = begin + number * every + (number * 0.618034 % 1.0) * every / 2
        await asyncio.sleep(max(due - time.monotonic(), 0))
        await queue.add(chat + number, 0)
        committed[chat + number] = time.time()
    return committed


async def arrivals_of(stage: Stage, chats: set[int]) -> dict[int, float]:
    """Wait for the first request of each of these chats; return when each arrived."""
    first: dict[int, float] = {}

    async def complete() -> bool:
        for at, chat, _ in await stage.arrivals():
            first.setdefault(chat, at)
        return chats <= first.keys()

    await until(complete, 60)
    return first


def split(
    committed: dict[int, float], arrived: dict[int, float], marks: dict[str, Any]
) -> dict[str, list[float]]:
    """Milliseconds of the stages: until the bell, the claim, the fence, and the request."""
    split: dict[str, list[float]] = defaultdict(list)
    for chat, at in committed.items():
        mark = marks.get(str(chat))
        if mark is None:
            continue
        laps = mark["laps"]
        rang = mark["rang"] or mark["claimed"]
        fence = laps.get("fence", 0.0)  # passed within the claim, where the turn was now
        rest = laps["render"] + laps["turn"] + fence
        split["bell"].append((rang - at) * 1000)
        split["claim"].append((mark["claimed"] - rang) * 1000)
        split["turn"].append(laps["render"] + laps["turn"])
        split["fence"].append(fence)
        split["send"].append((arrived[chat] - mark["claimed"]) * 1000 - rest)
    return split


def report(result: dict[str, Any]) -> str:
    """The tables, and what must hold."""
    found: dict[str, dict[str, list[float]]] = result["milliseconds"]
    stages: dict[str, dict[str, float]] = result["stages"]
    by_contender, by_stage = SECTIONS["latency"].tables
    rows = [
        [name, every, len(took), *(f"{percentile(took, share):.1f}" for share in (0.5, 0.95, 0.99))]
        for name, by_pace in found.items()
        for every, took in by_pace.items()
    ]
    lines = [table(by_contender, rows)]
    split = [
        [name, *(f"{medians[one]:.1f}" for one in by_stage[1:])]
        for name, medians in stages.items()
        if medians
    ]
    lines += ["", table(by_stage, split), ""]
    for every, ours in found.get(BROADCAST, {}).items():
        theirs = found.get(PGQUEUER, {}).get(every)
        if theirs:
            for share, limit in ((0.5, 2.2), (0.99, 2.5)):
                ratio = percentile(ours, share) / percentile(theirs, share)
                what = f"p{share * 100:.0f} relative to PgQueuer, one insert every {every}"
                lines.append(verdict(what, ratio, limit, least=False))
    return "\n".join(lines)
