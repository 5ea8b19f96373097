"""Part 12: from commit to request, with the database and Telegram some way off.

Every connection is delayed (see benchmarks/wire.py). No queue can beat the floor: the bell's way,
one round trip to the database, and the message's way.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from benchmarks.latency import arrivals_of, insert, split
from benchmarks.lines import PLAIN, TLS, Lines, lay
from benchmarks.numbers import median, percentile, table, verdict
from benchmarks.queues import FIRST_CHAT, Queues
from benchmarks.sections import SECTIONS
from benchmarks.stage import Stage

BRIDGE = "bridge"
PGQUEUER = "PgQueuer, LISTEN/NOTIFY"
WARM_UP = 8
LIMIT = 1.25


@dataclass(frozen=True)
class Contender:
    """A worker, and the first chat of its rows."""

    name: str
    worker: str
    queue: str
    first_chat: int


# Each of these has a queue of its own, so they run side by side; the poller reads the bridge's.
TOGETHER = (
    Contender(BRIDGE, "bridge", "events", FIRST_CHAT),
    Contender(PGQUEUER, "pgqueuer_worker", "pgqueuer", 2 * FIRST_CHAT),
    Contender(
        "Procrastinate, LISTEN/NOTIFY", "procrastinate_worker", "procrastinate", 3 * FIRST_CHAT
    ),
)
ALONE = (Contender("poller, every 3 s", "poller", "events", 4 * FIRST_CHAT),)


@dataclass(frozen=True)
class Pace:
    """The seconds between two rows of one contender, and how many it gets; the poller fewer."""

    every: float
    rows: int
    slow_rows: int


PACES = (Pace(1.0, 60, 15), Pace(20.0, 15, 4))
QUICK: dict[str, Any] = {
    "paces": (Pace(1.0, 10, 3), Pace(5.0, 3, 1)),
    "database_ms": 10.0,
    "telegram_ms": 20.0,
}

# By contender and pace: when each row was committed, by chat.
Committed = dict[tuple[str, str], dict[int, float]]


async def run(
    paces: tuple[Pace, ...] = PACES,
    database_ms: float = 10.0,
    telegram_ms: float = 20.0,
    kinds: tuple[str, ...] = (PLAIN, TLS),
) -> dict[str, Any]:
    """Measure over both kinds of lines, each so many milliseconds long."""
    result: dict[str, Any] = {}
    async with Stage() as stage, Queues(stage) as queues:
        for kind in kinds:
            lines = await lay(stage, kind, database_ms, telegram_ms)
            found, stages = await _measure(stage, queues, lines, paces)
            result[kind] = {
                "one_way": lines.one_way,
                "floor": lines.floor,
                "milliseconds": found,
                "stages": stages,
            }
            for name, every, took in _each(found):
                p50 = percentile(took, 0.5)
                print(
                    f"{kind}: {name}, every {every}: p50 {p50:.1f} ms, "
                    f"{p50 / lines.floor:.2f} x the floor",
                    flush=True,
                )
    return result


Found = dict[str, dict[str, list[float]]]


def _each(found: Found) -> Iterator[tuple[str, str, list[float]]]:
    for name, by_pace in found.items():
        for every, took in by_pace.items():
            yield name, every, took


async def _measure(
    stage: Stage, queues: Queues, lines: Lines, paces: tuple[Pace, ...]
) -> tuple[Found, dict[str, dict[str, float]]]:
    """Milliseconds by contender and pace, and the medians of the bridge's stages by pace."""
    found: Found = defaultdict(dict)
    stages: dict[str, dict[str, float]] = {}
    marks_file = stage.scratch("marks.json")
    env = {**lines.env(stage, queues), "MARKS": str(marks_file)}
    for contenders in (TOGETHER, ALONE):
        await queues.events.clear()
        committed, arrived = await _side_by_side(stage, queues, contenders, paces, env)
        for (name, every), rows in committed.items():
            found[name][every] = [(arrived[chat] - at) * 1000 for chat, at in rows.items()]
            if name == BRIDGE:
                laps = split(rows, arrived, json.loads(marks_file.read_text()))
                stages[every] = {one: median(values) for one, values in laps.items()}
    return found, stages


async def _side_by_side(
    stage: Stage,
    queues: Queues,
    contenders: tuple[Contender, ...],
    paces: tuple[Pace, ...],
    env: dict[str, str],
) -> tuple[Committed, dict[int, float]]:
    """Run them all, and give each a row in turns; return when each was committed, and arrived."""
    committed: Committed = {}
    free = {one.name: one.first_chat + WARM_UP for one in contenders}
    await stage.arrivals()
    async with AsyncExitStack() as stack:
        for one in contenders:
            child = await stack.enter_async_context(stage.worker(one.worker, **env))
            await child.says("doorbell_ready" if one.name == BRIDGE else "ready")
        await asyncio.sleep(1)
        for one in contenders:
            await insert(getattr(queues, one.queue), one.first_chat, WARM_UP, 0.2)
        await arrivals_of(
            stage, {one.first_chat + number for one in contenders for number in range(WARM_UP)}
        )
        for pace in paces:
            rows = pace.slow_rows if contenders is ALONE else pace.rows
            inserted = await asyncio.gather(
                *(
                    insert(
                        getattr(queues, one.queue),
                        free[one.name],
                        rows,
                        pace.every,
                        pace.every * place / len(contenders),
                    )
                    for place, one in enumerate(contenders)
                )
            )
            for one, told in zip(contenders, inserted, strict=True):
                committed[one.name, f"{pace.every:g} s"] = told
                free[one.name] += rows
        arrived = await arrivals_of(stage, {chat for told in committed.values() for chat in told})
    return committed, arrived


def report(result: dict[str, Any]) -> str:
    """The tables, and what must hold."""
    by_line, by_contender, by_stage = SECTIONS["distance"].tables
    lengths, rows, stages, verdicts = [], [], [], []
    for kind, part in result.items():
        floor = part["floor"]
        one_way = (f"{part['one_way'][end]:.1f}" for end in ("database", "telegram"))
        lengths.append([kind, *one_way, f"{floor:.1f}"])
        for name, every, took in _each(part["milliseconds"]):
            p50, p99 = (percentile(took, share) for share in (0.5, 0.99))
            cells = (f"{p50:.1f}", f"{p99:.1f}", f"{p50 / floor:.2f}")
            rows.append([name, kind, every, len(took), *cells])
        for every, medians in part["stages"].items():
            cells = tuple(f"{medians[one]:.1f}" for one in by_stage[1:])
            stages.append([f"bridge, {kind}, every {every}", *cells])
        verdicts += _verdicts(kind, part["milliseconds"], floor)
    return "\n".join(
        [
            table(by_line, lengths),
            "",
            table(by_contender, rows),
            "",
            table(by_stage, stages),
            "",
            *verdicts,
        ]
    )


def _verdicts(kind: str, found: Found, floor: float) -> Iterator[str]:
    for every, ours in found[BRIDGE].items():
        p50 = percentile(ours, 0.5)
        theirs = percentile(found[PGQUEUER][every], 0.5)
        where = f"{kind}, one insert every {every}"
        yield verdict(f"p50 relative to the floor, {where}", p50 / floor, LIMIT, least=False)
        yield verdict(f"p50 relative to PgQueuer, {where}", p50 / theirs, 1.0, least=False)
